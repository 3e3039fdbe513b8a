"""A copy of a model with the trained weights of a way: the decoder, LoRA's adapters, or everything.

Shapes: B examples, L tokens, P image patches, H width of the image encoder.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import BlipForConditionalGeneration

from captionloop.model.blip.checkpoint import Checkpoint
from captionloop.model.training.caption_targets import TrainingBatch, asking
from captionloop.model.training.decoder import logits_at
from captionloop.model.training.encoder import encode_images
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.vocabulary.wordpiece import first_added_id

# The attention of both parts, by the names of its layers in `transformers`.
_ATTENTION = {
    "decoder": r"text_decoder\.bert\.encoder\.layer\.\d+\.(?:attention|crossattention)\.self\.(?:query|key|value)",
    "encoder": r"vision_model\.encoder\.layers\.\d+\.self_attn\.(?:qkv|projection)",
}
_LAYER = re.compile(r"(text_decoder\.bert\.encoder\.layer|vision_model\.encoder\.layers)\.(\d+)\.")
_WIDE = 512
_LORA_ALPHA_PER_RANK = 2  # scales the adapters by 2, whatever their rank


class Trainable:
    """The model in training. The checkpoint that it is made from is not changed.

    Args:
        checkpoint: where to start. A frozen encoder is shared with it.
        settings: way, dropout, LoRA's rank and parts, gradient checkpointing.
    """

    def __init__(self, checkpoint: Checkpoint, settings: FinetuneSettings) -> None:
        self._start, self._settings = checkpoint, settings
        self.device = next(checkpoint.model.text_decoder.parameters()).device
        model = self._copy_of(checkpoint.model)
        model.requires_grad_(False)
        parts: list[nn.Module] = [model if settings.trains_encoder else model.text_decoder]
        for part in parts:
            part.float().train()
        for module in model.text_decoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.dropout
        self._model = model
        self._lora = _lora_config(settings) if settings.way == "lora" else None
        if self._lora is None:
            parts[0].requires_grad_(True)
        else:
            from peft import inject_adapter_in_model

            inject_adapter_in_model(self._lora, model)
            _train_added_rows(model, first_added_id(checkpoint.tokenizer))
        self.parameters: dict[str, nn.Parameter] = {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }

    def logits(
        self, text: TrainingBatch, *, features: Tensor | None, pixels: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        """The logits at positions whose next token counts in the loss: (A, vocabulary), row by row.

        Args:
            text: on the model's device.
            features: the frozen encoder's output, float (B, P+1, H), or None, and then
            pixels: the pictures, float (B, 3, side, side).
            dtype: of the activations.
        """
        recompute = self._settings.gradient_checkpointing
        if features is None:
            assert pixels is not None
            features = encode_images(self._model.vision_model, pixels, dtype=dtype, recompute=recompute)
        places = asking(text.labels)
        return logits_at(self._model.text_decoder, text.ids, places, features.to(dtype), recompute=recompute)

    @property
    def is_wide(self) -> bool:
        """Whether the decoder is faster in bf16 on hardware that supports it; the starter's is not."""
        return self._model.config.text_config.hidden_size >= _WIDE

    def groups(self, peak_rate: float) -> list[dict[str, Any]]:
        """Parameter groups for AdamW, each with its own `peak_rate`; `of_words` tells those of embedding and head.

        No weight decay on biases, norms (both 1-D) and position embeddings, nor, with LoRA, on the word embedding,
        whose old rows are frozen; with `layer_decay` lower rates for lower layers.
        """
        depths, words = self._depths(), self._words()
        groups: dict[tuple[int, bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.parameters.items():
            is_free = parameter.ndim < 2 or "position_embedding" in name
            is_free |= self._lora is not None and "word_embedding" in name
            groups.setdefault((depths[name], is_free, id(parameter) in words), []).append(parameter)
        return [
            {
                "params": parameters,
                "weight_decay": 0.0 if is_free else self._settings.weight_decay,
                "peak_rate": peak_rate * self._settings.layer_decay**depth,
                "of_words": of_words,
            }
            for (depth, is_free, of_words), parameters in groups.items()
        ]

    def _words(self) -> frozenset[int]:
        """The tokens' rows, in the embedding and the head that is tied to it, and their biases; by `id`."""
        text = self._model.text_decoder
        return frozenset(map(id, (text.get_input_embeddings().weight, text.get_output_embeddings().bias)))

    def _depths(self) -> dict[str, int]:
        """The number of layers above each parameter within its part: 0 for the head and the last layer."""
        found = {name: _LAYER.search(name) for name in self.parameters}
        layers: dict[str, int] = {}
        for match in found.values():
            if match:
                layers[match[1]] = max(layers.get(match[1], 0), int(match[2]) + 1)
        deepest = max(layers.values(), default=0)
        return {
            name: layers[match[1]] - 1 - int(match[2]) if match else deepest if "embedding" in name else 0
            for name, match in found.items()
        }

    @torch.no_grad()
    def checkpoint(self, weights: dict[str, Tensor] | None = None) -> Checkpoint:
        """A plain BLIP with the present weights, in evaluation mode and the original's dtype; training can continue.

        Args:
            weights: used instead of the present ones, by name as in `parameters`.
        """
        model = self._copy_of(self._model)
        for name, parameter in model.named_parameters():
            if weights is not None and name in weights:
                parameter.copy_(weights[name])
        if self._lora is not None:
            _merge_lora(model)
        original = self._start.model
        dropouts = [module.p for module in original.text_decoder.modules() if isinstance(module, nn.Dropout)]
        fresh = [module for module in model.text_decoder.modules() if isinstance(module, nn.Dropout)]
        for module, p in zip(fresh, dropouts, strict=True):
            module.p = p
        model.to(original.dtype).requires_grad_(False)
        return Checkpoint(
            model=model.eval(),
            tokenizer=self._start.tokenizer,
            image_processor=self._start.image_processor,
            source=self._start.source,
        )

    def save_adapter(self, directory: Path) -> None:
        """Save LoRA's adapter in PEFT's format; other ways have none.

        After an extension of the vocabulary it includes the word embedding, as PEFT does.
        """
        if self._lora is not None:
            from peft import get_peft_model_state_dict

            # PEFT prefixes names with those of its wrapper, which we do not use.
            trained = get_peft_model_state_dict(self._model) | {
                name: parameter.detach() for name, parameter in self.parameters.items() if "lora_" not in name
            }
            matrices = {f"base_model.model.{name}": tensor.contiguous() for name, tensor in trained.items()}
            directory.mkdir(parents=True, exist_ok=True)
            save_file(matrices, directory / "adapter_model.safetensors")
            self._lora.save_pretrained(str(directory))

    def _copy_of(self, model: BlipForConditionalGeneration) -> BlipForConditionalGeneration:
        shared = {} if self._settings.trains_encoder else {id(model.vision_model): model.vision_model}
        return copy.deepcopy(model, shared)


def _lora_config(settings: FinetuneSettings) -> Any:
    from peft import LoraConfig

    parts = ["decoder", "encoder"] if settings.lora_parts == "both" else [settings.lora_parts]
    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=_LORA_ALPHA_PER_RANK * settings.lora_rank,
        lora_dropout=settings.dropout,
        target_modules="|".join(f"(?:{_ATTENTION[part]})" for part in parts),
    )


def _train_added_rows(model: BlipForConditionalGeneration, first: int | None) -> None:
    """Have the tokens that captions asked for learn as well, of which LoRA's matrices know nothing.

    Args:
        model: with LoRA's matrices in it; everything else stays as it is.
        first: id of the first such token; None when there is none.
    """
    if first is None:
        return

    def without_the_old(gradient: Tensor) -> Tensor:
        kept = gradient.clone()
        kept[:first] = 0
        return kept

    text = model.text_decoder
    for tensor in (text.get_input_embeddings().weight, text.get_output_embeddings().bias):
        tensor.requires_grad_(True)
        tensor.register_hook(without_the_old)


def _merge_lora(model: BlipForConditionalGeneration) -> None:
    """Merge the adapters into the weights, and restore the plain layers."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
