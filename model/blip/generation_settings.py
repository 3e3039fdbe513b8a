"""Generation settings of a model version.

How `transformers` counts lengths for BLIP, checked against `BlipForConditionalGeneration.generate` 5.23: the decoder's
sequence is

    [DEC] <prompt pieces> <caption pieces> [SEP]

and both lengths count *all* of it. So the longest caption has `max_length - 2 - prompt` word pieces ([SEP] ends it) or
one more (cut short), and the shortest has `min_length - 1 - prompt`, as [SEP] is forbidden while the sequence is
shorter than `min_length`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from captionloop.errors import CheckpointError
from captionloop.model.captions.orthography import Writing, learn_writing
from captionloop.model.captions.text import encode_caption
from captionloop.setting_fields import refuse_unknown

if TYPE_CHECKING:
    from captionloop.model.blip.checkpoint import Checkpoint

START_AND_END = 2  # [DEC] and [SEP]


@dataclass(frozen=True)
class GenerationSettings:
    """Beam search as BLIP does it for captioning.

    The defaults are those of BLIP's `caption_coco.yaml` and `blip_caption.py`: 3 beams, 5 to 20 tokens, no repetition
    penalty. BLIP's prompt "a picture of " is left out, since fine-tuned captions start otherwise.

    Args:
        num_beams: beams per image; 1 is greedy search.
        min_length: fewest tokens, counted as in the module's docstring.
        max_length: most tokens, counted likewise; at most the decoder's positions (512 in BLIP).
        prompt: prompt before the caption; removed from the output.
        repetition_penalty: lowers the scores of tokens that have occurred (CTRL, arXiv 1909.05858, section 4.1); 1 is
            off.
        writing: the annotators' capitals and spaces, restored in the output.

    Raises:
        CheckpointError: a value that cannot be used; the message names the setting, its value and what is expected.
    """

    num_beams: int = 3
    min_length: int = 5
    max_length: int = 20
    prompt: str = ""
    repetition_penalty: float = 1.0
    writing: Writing = field(default_factory=Writing)

    def __post_init__(self) -> None:
        _check_whole("num_beams", self.num_beams, least=1, most=64)
        _check_whole("min_length", self.min_length, least=0, most=512)
        _check_whole("max_length", self.max_length, least=3, most=512)
        if self.min_length > self.max_length:
            raise _wrong("min_length", self.min_length, f"at most max_length ({self.max_length})")
        if not isinstance(self.prompt, str):
            raise _wrong("prompt", self.prompt, "a text")
        if not _is_number(self.repetition_penalty) or not 0 < self.repetition_penalty <= 100:
            raise _wrong("repetition_penalty", self.repetition_penalty, "a number above 0, at most 100")

    def to_dict(self) -> dict[str, Any]:
        """Every setting by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GenerationSettings:
        """The mirror of `to_dict`; what is missing takes its default.

        Raises:
            CheckpointError: an unknown name or a wrong value.
        """
        refuse_unknown(cls, values, called="generation setting", error=CheckpointError)
        return cls(**{**values, "writing": Writing.from_dict(values.get("writing", {}))})

    def for_transformers(self, text_config: Any) -> dict[str, Any]:
        """The same for `transformers.GenerationConfig`.

        Args:
            text_config: of the model, which knows the special tokens' ids.
        """
        return {
            "num_beams": self.num_beams,
            "min_length": self.min_length,
            "max_length": self.max_length,
            "repetition_penalty": self.repetition_penalty,
            "do_sample": False,
            "early_stopping": False,
            "length_penalty": 1.0,
            "bos_token_id": text_config.bos_token_id,
            "eos_token_id": text_config.sep_token_id,  # captions end with [SEP]; text_config.eos_token_id is not used
            "pad_token_id": text_config.pad_token_id,
        }

    def following(
        self, caption_pieces: Iterable[int], *, prompt_pieces: int = 0, most: int = 512
    ) -> GenerationSettings:
        """These settings with the length limits widened so that every given caption can be generated.

        `max_length` grows to the longest caption plus an eighth (an unseen picture may need a few words more than any
        seen one), `min_length` shrinks to the shortest. Neither is ever narrowed.

        Args:
            caption_pieces: number of word pieces of each human caption, without prompt and special tokens.
            prompt_pieces: number of word pieces of `prompt`.
            most: the decoder's positions, the upper bound of both lengths.
        """
        counts = list(caption_pieces)
        if not counts:
            return self
        longest, shortest = max(counts), min(counts)
        upper = prompt_pieces + longest + longest // 8 + START_AND_END
        lower = prompt_pieces + shortest + 1
        return replace(
            self,
            max_length=max(self.max_length, min(upper, most)),
            min_length=min(self.min_length, lower),
        )


def generation_for(before: GenerationSettings, checkpoint: Checkpoint, captions: Iterable[str]) -> GenerationSettings:
    """A version's settings after fine-tuning: length limits that include all captions, and the annotators' orthography.

    Args:
        before: the settings of its parent.
        checkpoint: of either.
        captions: the human captions.
    """
    captions = list(captions)
    wide_enough = before.following(
        (len(encode_caption(checkpoint.tokenizer, caption)) for caption in captions),
        prompt_pieces=len(encode_caption(checkpoint.tokenizer, before.prompt)),
        most=checkpoint.model.config.text_config.max_position_embeddings,
    )
    return replace(wide_enough, writing=learn_writing(captions))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_whole(name: str, value: object, *, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(name, value, f"a whole number from {least} to {most}")


def _wrong(name: str, value: object, expected: str) -> CheckpointError:
    return CheckpointError(f"Generation setting {name} is {value!r}; expected {expected}.")
