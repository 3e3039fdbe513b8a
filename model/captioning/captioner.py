"""Inference with one model version: pictures in, captions with scores out.

With a feature cache the image encoder runs once per image. Captions are those of `transformers`' `generate`, computed
by our own `encoder`, `decoder` and `beam_search`.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from transformers import BlipForConditionalGeneration

from captionloop.device import AUTO, chosen_device, computes_in_bf16, is_gpu
from captionloop.errors import CheckpointError
from captionloop.model.blip.checkpoint import Checkpoint, encoder_hash, load_checkpoint
from captionloop.model.blip.generation_settings import START_AND_END, GenerationSettings
from captionloop.model.blip.image_tensors import Pixels
from captionloop.model.captioning.beam_search import Hypothesis, SearchRules, search
from captionloop.model.captioning.decoder import TextDecoder
from captionloop.model.captioning.encoder import ImageEncoder
from captionloop.model.captioning.feature_cache import FeatureCache
from captionloop.model.captions.text import decode_caption, lead_in, unwritable
from captionloop.setting_fields import PrecisionSetting

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16"]

# On two cores larger batches are no faster with BLIP-base, and need more memory. A GPU is idle with small ones.
_BATCH_SIZE, _GPU_BATCH_SIZE = 8, 64


@dataclass(frozen=True)
class ScoredCaption:
    """A caption and its score.

    `score` is the mean probability, 0 to 1, of the generated tokens: with c_1 ... c_n the caption's word pieces and,
    unless the length limit cut it, the end token,

        score = 1/n * sum over t of softmax(logits_t)[c_t]

    from the model's logits, before repetition penalty and length rules.
    """

    caption: str
    score: float


@dataclass(frozen=True)
class Beam:
    """One of the final captions of a beam search.

    Args:
        ids: token ids from [DEC] on, prompt included, up to the end token unless the length limit cut it.
        scored: the caption with its score.
        log_probabilities: of the tokens after the prompt, in nats; from the same logits as the score.
    """

    ids: tuple[int, ...]
    scored: ScoredCaption
    log_probabilities: tuple[float, ...]


class Captioner:
    """A loaded model version. Thread-safe by a lock.

    Args:
        checkpoint: the model, on the device where it will compute. The captioner takes ownership and casts it.
        version: the version's name, returned with every caption.
        generation: generation settings.
        precision: of weights and computation; "auto" is bf16 where the device computes in it, else fp32.
        features: cache of encoder outputs; None caches none.

    Raises:
        CheckpointError: the generation settings do not match the model.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        version: str,
        generation: GenerationSettings,
        precision: PrecisionSetting = "auto",
        features: FeatureCache | None = None,
    ) -> None:
        self.version = version
        self.generation = generation
        self.device = checkpoint.model.device
        self.precision: Precision = _resolve_precision(precision, self.device)
        self.dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        # Features depend on the precision.
        self.encoder_hash = hashlib.sha256(f"{encoder_hash(checkpoint)} {self.precision}".encode()).hexdigest()
        self.checkpoint = checkpoint
        self._model = checkpoint.model.to(self.dtype).eval()
        self._pixels = Pixels(checkpoint.image_processor, self.device)
        self._features = features
        self._lock = threading.Lock()
        self._prompt = self._prompt_ids()
        self._warn_of_unknown_prompt()
        self._rules = SearchRules(
            beams=generation.num_beams,
            shortest=generation.min_length,
            longest=generation.max_length,
            repetition_penalty=generation.repetition_penalty,
            end=self._model.config.text_config.sep_token_id,
        )
        with torch.no_grad():
            self._encoder = ImageEncoder(self._model.vision_model)
            self._decoder = TextDecoder(self._model.text_decoder)

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        version: str,
        generation: GenerationSettings,
        precision: PrecisionSetting = "auto",
        device: str = AUTO,
        features: FeatureCache | None = None,
    ) -> Captioner:
        """Load a hub id, a directory or "starter"; the arguments are those of the class and of `load_checkpoint`.

        Args:
            device: a value of CAPTIONLOOP_DEVICE.

        Raises:
            CheckpointError: the model cannot be loaded or does not match the generation settings.
            SettingsError: the device is not available.
        """
        return cls(
            load_checkpoint(source, device=chosen_device(device)),
            version=version,
            generation=generation,
            precision=precision,
            features=features,
        )

    def in_style(self, style: str | None) -> Captioner:
        """The same model writing in one of its styles, `generation.styles`; weights, cache and lock are shared.

        Args:
            style: its name; None is captions without a named style.

        Raises:
            CheckpointError: the version was not taught the style.
        """
        if style == self.generation.style:
            return self
        if style is not None and style not in self.generation.styles:
            known = ", ".join(map(repr, self.generation.styles)) or "none with a name"
            raise CheckpointError(f"Version {self.version} was not taught the style {style!r}. It knows: {known}.")
        styled = copy.copy(self)
        styled.generation = replace(self.generation, style=style)
        styled._prompt = styled._prompt_ids()
        return styled

    def caption(
        self,
        images: Sequence[Image.Image],
        *,
        image_hashes: Sequence[str] | None = None,
        batch_size: int | None = None,
    ) -> list[ScoredCaption]:
        """Caption pictures, in their order.

        Args:
            images: RGB pictures, as `open_image` returns them.
            image_hashes: their content hashes, the keys of the feature cache.
            batch_size: pictures per batch; None is `self.batch_size`.
        """
        return [
            captions[0]
            for captions in self.caption_by([self], images, image_hashes=image_hashes, batch_size=batch_size)
        ]

    def caption_by(
        self,
        writers: Sequence[Captioner],
        images: Sequence[Image.Image],
        *,
        image_hashes: Sequence[str] | None = None,
        batch_size: int | None = None,
    ) -> list[list[ScoredCaption]]:
        """Caption pictures in several styles, with one pass of the image encoder; each picture's by writer.

        Args:
            writers: this model in its styles, as `in_style` gives it.
            images, image_hashes, batch_size: as in `caption`.
        """
        batch_size = batch_size or self.batch_size
        suggestions: list[list[ScoredCaption]] = []
        for start in range(0, len(images), batch_size):
            chunk = slice(start, start + batch_size)
            hashes = None if image_hashes is None else image_hashes[chunk]
            features = self.encode(images[chunk], image_hashes=hashes)
            by_writer = [writer.caption_features(features) for writer in writers]
            suggestions += map(list, zip(*by_writer, strict=True))
        return suggestions

    def shrink(self, image: Image.Image) -> Image.Image:
        """Resize a picture to the model's input size, to save memory while it waits; its caption stays the same.

        Args:
            image: RGB, as `open_image` returns it; a photograph of 24 megapixels takes 96 MB.
        """
        return self._pixels.shrink(image)

    def encode(self, images: Sequence[Image.Image], *, image_hashes: Sequence[str] | None = None) -> torch.Tensor:
        """Run the image encoder, or read its output from the cache.

        Returns:
            (images, patches + 1, vision hidden) on the captioner's device, in its dtype, without gradient.
        """
        if image_hashes is not None and len(image_hashes) != len(images):
            raise ValueError(f"{len(images)} images, but {len(image_hashes)} hashes")
        if self._features is None or image_hashes is None:
            return self._run_encoder(images)
        known = self._features.get_many(image_hashes, self.encoder_hash)
        unknown = {name: image for name, image in zip(image_hashes, images, strict=True) if name not in known}
        if unknown:
            computed = dict(zip(unknown, self._run_encoder(list(unknown.values())), strict=True))
            self._features.put_many(computed, self.encoder_hash)
            known |= computed
        return torch.stack([known[name].to(self.device) for name in image_hashes])

    def known_features(self, image_hash: str) -> torch.Tensor | None:
        """The cached encoder output of one picture, (1, patches + 1, vision hidden); None: there is none."""
        known = {} if self._features is None else self._features.get_many([image_hash], self.encoder_hash)
        return known[image_hash][None].to(self.device) if image_hash in known else None

    def caption_features(self, features: torch.Tensor) -> list[ScoredCaption]:
        """Caption encoder outputs: (images, patches + 1, vision hidden), in any float dtype, on any device."""
        return [self._scored(captions[0]) for captions in self._search(features)]

    def beams(self, features: torch.Tensor) -> list[list[Beam]]:
        """All final beams of each picture, best first; the first is the one that is served.

        The cost is that of `caption_features`, which discards the others.

        Args:
            features: (images, patches + 1, vision hidden), in any float dtype, on any device.
        """
        return [
            [Beam(written.ids, self._scored(written), written.log_probabilities) for written in captions]
            for captions in self._search(features)
        ]

    def write_on(
        self, features: torch.Tensor, beginning: Sequence[int], *, openings: Sequence[int] = ()
    ) -> tuple[int, ...]:
        """The best caption with a forced beginning, as token ids after the prompt.

        Args:
            features: of one picture, (1, patches + 1, vision hidden), in any float dtype, on any device.
            beginning: its token ids after the prompt.
            openings: if any, the likeliest of these follows.

        Returns:
            The beginning and what follows; the beginning alone if the length limit leaves no room.
        """
        known = [*self._prompt, *beginning]
        if len(known) + START_AND_END > self._rules.longest:
            return tuple(beginning)
        with self._lock, torch.inference_mode():
            features = features.to(self.device, self.dtype)
            if openings:
                _, logits = self._decoder.begin(features, self._ids(known), beams=1, longest=self._rules.longest)
                known.append(openings[int(logits[0, self._ids(openings)].argmax())])
            written = search(self._decoder, features, self._ids(known), self._rules)[0][0]
        return written.ids[len(self._prompt) :]

    def _ids(self, ids: Sequence[int]) -> torch.Tensor:
        return torch.tensor(ids, device=self.device)

    @property
    def batch_size(self) -> int:
        """The fastest number of pictures per batch on this device."""
        return _GPU_BATCH_SIZE if is_gpu(self.device) else _BATCH_SIZE

    @property
    def prompt_length(self) -> int:
        """Number of tokens before the caption: [DEC], the style's, and the prompt's."""
        return len(self._prompt)

    @contextmanager
    def alone(self) -> Iterator[BlipForConditionalGeneration]:
        """Exclusive use of the model, for the caller's own forward passes, without gradients."""
        with self._lock, torch.no_grad():
            yield self._model

    def _search(self, features: torch.Tensor) -> list[list[Hypothesis]]:
        if len(features) == 0:
            return []
        with self._lock, torch.inference_mode():
            return search(self._decoder, features.to(self.device, self.dtype), self._ids(self._prompt), self._rules)

    def _scored(self, written: Hypothesis) -> ScoredCaption:
        caption = decode_caption(self.checkpoint.tokenizer, written.ids[len(self._prompt) :])
        probabilities = [math.exp(log) for log in written.log_probabilities]
        score = sum(probabilities) / len(probabilities)
        return ScoredCaption(self.generation.style_writing.write(caption), min(max(score, 0.0), 1.0))

    def _run_encoder(self, images: Sequence[Image.Image]) -> torch.Tensor:
        pixels = self._pixels(images).to(self.dtype)
        with self._lock, torch.no_grad():
            return self._encoder(pixels)

    def _warn_of_unknown_prompt(self) -> None:
        tokenizer, prompt = self.checkpoint.tokenizer, self.generation.prompt
        if prompt.strip() and not lead_in(tokenizer, prompt):
            logger.warning(
                "%s captions without the prompt %r: its vocabulary lacks %s. A run on corrections adds it.",
                self.version, prompt, ", ".join(unwritable(tokenizer, prompt)),
            )  # fmt: skip

    def _prompt_ids(self) -> list[int]:
        """[DEC], whose id is only in the configuration, the token of the style, and the prompt's word pieces."""
        text, settings = self._model.config.text_config, self.generation
        token = settings.style_token
        if token is not None and token not in self.checkpoint.tokenizer.get_vocab():
            raise CheckpointError(
                f"The style {settings.style!r} is led in by {token}, which the tokenizer of {self.checkpoint.source} "
                "lacks. Take model and settings from the same version."
            )
        ids = [text.bos_token_id, *lead_in(self.checkpoint.tokenizer, settings.prompt, token=token)]
        if settings.max_length > text.max_position_embeddings:
            raise CheckpointError(
                f"Generation setting max_length is {settings.max_length}; "
                f"the model has only {text.max_position_embeddings} positions."
            )
        if len(ids) + START_AND_END > settings.max_length:
            raise CheckpointError(
                f"Generation setting max_length is {settings.max_length}, which leaves no room for a caption after "
                f"the prompt {settings.prompt!r} ({len(ids) - 1} tokens)."
            )
        return ids


def _resolve_precision(precision: str, device: torch.device) -> Precision:
    if precision == "fp32":
        return "fp32"
    if precision == "bf16":
        return "bf16"
    if precision != "auto":
        raise ValueError(f"precision is {precision!r}; expected 'auto', 'fp32' or 'bf16'")
    return "bf16" if computes_in_bf16(device) else "fp32"
