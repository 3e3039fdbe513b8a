"""The settings of a fine-tuning run, validated once and stored with the version."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from captionloop import setting_fields as fields
from captionloop.errors import SettingsError

Way = Literal["decoder", "lora", "full"]
WAYS: tuple[Way, ...] = get_args(Way)
Schedule = Literal["cosine", "linear", "constant", "inverse_sqrt"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
Part = Literal["decoder", "encoder", "both"]
PARTS: tuple[Part, ...] = get_args(Part)


_STEPS_FOR_NEW_WORDS = 500


@dataclass(frozen=True)
class FinetuneSettings:
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

    way: Way = "decoder"
    learning_rate: float | None = None
    schedule: Schedule = "cosine"
    steps: int | None = None
    batch_size: int = 16
    micro_batch_size: int | None = None
    weight_decay: float = 0.05
    warmup_share: float = 0.1
    layer_decay: float = 1.0
    max_gradient_norm: float = 1.0
    label_smoothing: float = 0.1
    dropout: float = 0.1
    ema: float = 0.0
    validation_share: float = 0.0
    patience: int = 3
    replay: float = 1.0
    augment: bool = True
    lora_rank: int = 16
    lora_parts: Part = "both"
    gradient_checkpointing: bool = False
    prompt: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("way", WAYS), ("schedule", SCHEDULES), ("lora_parts", PARTS)):
            self._check(name, getattr(self, name) in choices, f"one of {', '.join(choices)}")
        for name in ("batch_size", "patience", "lora_rank"):
            self._check(name, _is_whole(getattr(self, name), least=1), "a whole number above 0")
        for name in ("steps", "micro_batch_size"):
            value = getattr(self, name)
            self._check(name, value is None or _is_whole(value, least=1), "a whole number above 0")
        for name in ("augment", "gradient_checkpointing"):
            self._check(name, isinstance(getattr(self, name), bool), "true or false")
        for name in ("weight_decay", "warmup_share", "label_smoothing", "dropout", "ema", "validation_share"):
            value = getattr(self, name)
            self._check(name, _is_number(value) and 0 <= value < 1, "a number from 0 to below 1")
        self._check("replay", _is_number(self.replay) and 0 <= self.replay <= 1, "a number from 0 to 1")
        good = self.learning_rate is None or (_is_number(self.learning_rate) and 0 < self.learning_rate <= 1)
        self._check("learning_rate", good, "a number above 0, at most 1")
        self._check("layer_decay", _is_number(self.layer_decay) and 0 < self.layer_decay <= 1, "above 0, at most 1")
        good = _is_number(self.max_gradient_norm) and self.max_gradient_norm > 0
        self._check("max_gradient_norm", good, "a number above 0")
        self._check("prompt", isinstance(self.prompt, str), "a text")
        self._check("seed", _is_whole(self.seed, least=0), "a whole number from 0")

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise SettingsError(f"Fine-tuning setting {name} is {getattr(self, name)!r}; expected {expected}.")

    @property
    def trains_encoder(self) -> bool:
        """Whether the image encoder is trained, so that cached features cannot be used."""
        return self.way == "full" or (self.way == "lora" and self.lora_parts != "decoder")

    def to_dict(self) -> dict[str, Any]:
        """Every setting by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FinetuneSettings:
        """The mirror of `to_dict`; what is missing takes its default.

        Raises:
            SettingsError: an unknown name or a wrong value.
        """
        fields.refuse_unknown(cls, values, called="fine-tuning setting", error=SettingsError)
        return cls(**values)

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
    return fields.read_pairs(FinetuneSettings, pairs, called="fine-tuning setting", example="learning_rate=0.001")


def _is_whole(value: object, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def default_learning_rate(width: int, way: Way = "decoder") -> float:
    """The default peak rate for a decoder of this hidden width.

    1e-3 was measured best for the decoder of the starter model, width 128. 5e-5 is the usual rate for fine-tuning
    BLIP-base and -large (768) on small sets, as in Hugging Face's notebook. Other widths are log-log interpolated.
    LoRA, whose adapters start at 0, gets twice that rate, training with the encoder half of it.
    """
    rate = 1e-3 * (width / 128) ** (math.log(5e-5 / 1e-3) / math.log(768 / 128))
    return rate * {"decoder": 1.0, "lora": 2.0, "full": 0.5}[way]


def default_steps(examples: int, *, has_new_words: bool = False) -> int:
    """The default number of optimizer steps: more examples need more steps, but far fewer passes over each.

    New words need a minimum, however few captions they come in.
    """
    steps = round(300 * max(examples / 60, 0.25) ** 0.5)
    return max(steps, _STEPS_FOR_NEW_WORDS) if has_new_words else steps
