"""The settings of a fine-tuning run, validated once and stored with the version."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from captionloop import setting_fields
from captionloop.setting_fields import Expected, Share, StoredSettings, Switch, Text, Whole

Way = Literal["decoder", "lora", "full"]
WAYS: tuple[Way, ...] = get_args(Way)
Schedule = Literal["cosine", "linear", "constant", "inverse_sqrt"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
Part = Literal["decoder", "encoder", "both"]
PARTS: tuple[Part, ...] = get_args(Part)
_Factor = Annotated[float, Field(gt=0, le=1), Expected("a number above 0, at most 1")]
_WholeOrChosen = Annotated[Whole | None, Expected("a whole number above 0")]

_STEPS_FOR_A_LANGUAGE = 500
_LONGEST_FOR_STYLES = 1.5  # times the steps of one style with as many examples


@dataclass(frozen=True)
class FinetuneSettings(StoredSettings):
    """How to train. docs/training.md has the reasons and measurements.

    Args:
        way: "decoder" trains the text decoder on cached image features; "lora" low-rank adapters on the attention
            (PEFT); "full" all weights.
        learning_rate: peak rate of AdamW; None chooses by way and width (`default_learning_rate`).
        schedule: after the warm-up; BLIP's own is the cosine.
        steps: optimizer steps; None chooses by the number of examples (`default_steps`).
        batch_size: examples per step.
        micro_batch_size: examples per forward and backward pass; None is the whole batch, or the fastest size on a CPU
            that trains the encoder. It is halved when memory runs out.
        weight_decay: decoupled, BLIP's 0.05; not on biases, norms and position embeddings.
        warmup_share: share of the steps in which the rate rises from 0.
        layer_decay: factor on the rate per layer, from the last one down; 1 is the same rate for all.
        max_gradient_norm: gradients are clipped to this norm.
        label_smoothing: in training only, BLIP's 0.1.
        dropout: on hidden states and attention of the decoder, BERT's 0.1.
        ema: decay of an exponential moving average of the weights, which is then kept; 0 keeps the last weights.
        validation_share: share of the images used for validation instead of training; the best weights are kept, by
            CIDEr-D + BLEU-4. 0 trains on all and keeps the last.
        patience: validations without improvement after which training stops.
        replay: share of the corrections that the champion was trained on to train on again, beside all new ones; chosen
            by image (see `replay`).
        augment: random crops, brightness and contrast ("lora" with the encoder, and "full").
        lora_rank: rank of the adapters.
        lora_parts: the parts whose attention gets adapters.
        gradient_checkpointing: recompute activations in the backward pass: less memory, about a third more time.
        prompt: text before the caption, masked out of the loss (see `GenerationSettings.prompt`).
        seed: of data order, dropout and augmentation. On one machine with one number of threads, same seed, same
            weights.

    Raises:
        SettingsError: an invalid value; the message names setting, value and what is expected.
    """

    called = "fine-tuning setting"

    way: Way = "decoder"
    learning_rate: Annotated[_Factor | None, Expected("a number above 0, at most 1")] = None
    schedule: Schedule = "cosine"
    steps: _WholeOrChosen = None
    batch_size: Whole = 16
    micro_batch_size: _WholeOrChosen = None
    weight_decay: Share = 0.05
    warmup_share: Share = 0.1
    layer_decay: _Factor = 1.0
    max_gradient_norm: Annotated[float, Field(gt=0), Expected("a number above 0")] = 1.0
    label_smoothing: Share = 0.1
    dropout: Share = 0.1
    ema: Share = 0.0
    validation_share: Share = 0.0
    patience: Whole = 3
    replay: Annotated[float, Field(ge=0, le=1), Expected("a number from 0 to 1")] = 1.0
    augment: Switch = True
    lora_rank: Whole = 16
    lora_parts: Part = "both"
    gradient_checkpointing: Switch = False
    prompt: Text = ""
    seed: Annotated[int, Field(ge=0), Expected("a whole number from 0")] = 0

    @property
    def trains_encoder(self) -> bool:
        """Whether the image encoder is trained, so that cached features cannot be used."""
        return self.way == "full" or (self.way == "lora" and self.lora_parts != "decoder")

    @classmethod
    def from_text(cls, pairs: Iterable[str]) -> FinetuneSettings:
        """From `name=value` pairs as people type them: `way=lora`, `steps=300`, `augment=false`.

        Raises:
            SettingsError: not a pair, an unknown name, or a wrong value.
        """
        return cls.from_dict(read_pairs(pairs))


def read_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """`name=value` pairs as typed → settings by name, converted to their types but not yet validated.

    Raises:
        SettingsError: not a pair, or an unknown name.
    """
    return setting_fields.read_pairs(FinetuneSettings, pairs, example="learning_rate=0.001")


def default_learning_rate(width: int, way: Way = "decoder") -> float:
    """The default peak rate for a decoder of this hidden width.

    1e-3 was measured best for the decoder of the starter model, width 128. 5e-5 is the usual rate for fine-tuning
    BLIP-base and -large (768) on small sets, as in Hugging Face's notebook. Other widths are log-log interpolated.
    LoRA, whose adapters start at 0, gets twice that rate, training with the encoder half of it.
    """
    rate = 1e-3 * (width / 128) ** (math.log(5e-5 / 1e-3) / math.log(768 / 128))
    return rate * {"decoder": 1.0, "lora": 2.0, "full": 0.5}[way]


def default_steps(examples: int, *, is_new_language: bool = False) -> int:
    """The default number of optimizer steps: more examples need more steps, but far fewer passes over each.

    A language that is new to the model needs a minimum, however few captions there are.
    """
    steps = round(300 * max(examples / 60, 0.25) ** 0.5)
    return max(steps, _STEPS_FOR_A_LANGUAGE) if is_new_language else steps


def default_steps_of_styles(examples: Sequence[int], *, is_new_language: bool = False) -> int:
    """The default number of optimizer steps for several styles: those that each would get alone, within limits.

    Args:
        examples: of each style, at least one style.
    """
    as_one = default_steps(sum(examples), is_new_language=is_new_language)
    each_alone = sum(map(default_steps, examples))
    return max(as_one, min(each_alone, round(_LONGEST_FOR_STYLES * as_one)))
