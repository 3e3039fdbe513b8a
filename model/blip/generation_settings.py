"""Generation settings of a model version.

How `transformers` counts lengths for BLIP, checked against `BlipForConditionalGeneration.generate` 5.23: the decoder's
sequence is

    [DEC] <prompt pieces> <caption pieces> [SEP]

where the token of a style counts as one of the prompt's pieces, and both lengths count *all* of it. So the longest
caption has `max_length - 2 - prompt` word pieces ([SEP] ends it) or one more (cut short), and the shortest has
`min_length - 1 - prompt`, as [SEP] is forbidden while the sequence is shorter than `min_length`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, InstanceOf

from captionloop.errors import CheckpointError
from captionloop.model.captions.orthography import Writing, learn_writing
from captionloop.model.captions.text import encode_caption, lead_in
from captionloop.setting_fields import Expected, StoredSettings, Text

if TYPE_CHECKING:
    from captionloop.model.blip.checkpoint import Checkpoint

START_AND_END = 2  # [DEC] and [SEP]


def _from_json(writing: object) -> object:
    return Writing.from_dict(writing) if isinstance(writing, Mapping) else writing


_Writing = Annotated[InstanceOf[Writing], BeforeValidator(_from_json), Expected("writing settings by name")]
_Penalty = Annotated[float, Field(gt=0, le=100), Expected("a number above 0, at most 100")]


@dataclass(frozen=True)
class TaughtStyle(StoredSettings):
    """A manner of captions that a version was taught beside others (docs/styles.md).

    Args:
        token: the special token that leads its captions in, before the prompt.
        writing: the capitals and spaces of its captions.

    Raises:
        CheckpointError: a value that cannot be used; the message names it and what is expected.
    """

    called = "style setting"
    error = CheckpointError

    token: Text
    writing: _Writing = field(default_factory=Writing)


def _style_from_json(style: object) -> object:
    return TaughtStyle.from_dict(style) if isinstance(style, Mapping) else style


_Styles = Annotated[
    Mapping[str, Annotated[InstanceOf[TaughtStyle], BeforeValidator(_style_from_json)]],
    Expected("style settings by the name of the style"),
]
_Style = Annotated[str | None, Expected("the name of one of the styles, or nothing")]


@dataclass(frozen=True)
class GenerationSettings(StoredSettings):
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
        writing: the annotators' capitals and spaces, restored in the output; those of captions without a named style.
        styles: name → style, of all that the version was taught beside captions without a named one.
        style: which of them it writes; None is captions without a named style.

    Raises:
        CheckpointError: a value that cannot be used; the message names the setting, its value and what is expected.
    """

    called = "generation setting"
    error = CheckpointError

    num_beams: Annotated[int, Field(ge=1, le=64), Expected("a whole number from 1 to 64")] = 3
    min_length: Annotated[int, Field(ge=0, le=512), Expected("a whole number from 0 to 512")] = 5
    max_length: Annotated[int, Field(ge=3, le=512), Expected("a whole number from 3 to 512")] = 20
    prompt: Text = ""
    repetition_penalty: _Penalty = 1.0
    writing: _Writing = field(default_factory=Writing)
    styles: _Styles = field(default_factory=dict)
    style: _Style = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_length > self.max_length:
            raise self.wrong("min_length", f"at most max_length ({self.max_length})")
        if self.style is not None and self.style not in self.styles:
            known = ", ".join(map(repr, self.styles))
            raise self.wrong(
                "style", f"one of {known}" if known else "none, as the model was taught no style with a name"
            )

    def to_dict(self) -> dict[str, Any]:
        """Every setting by name, ready for JSON; those of styles only if there are any."""
        values = super().to_dict()
        return values if self.styles else {name: values[name] for name in values if name not in ("styles", "style")}

    def written_in(self, style: str | None) -> str | None:
        """The style that is written when this one is wanted: its own, if the version was not taught that one."""
        return style if style is None or style in self.styles else self.style

    @property
    def named_style(self) -> str | None:
        """The style that it writes, "" for the one without a name; None where the version knows that one alone."""
        return (self.style or "") if self.styles else None

    @property
    def style_token(self) -> str | None:
        """What leads captions in, before the prompt; None where the style has no name."""
        return None if self.style is None else self.styles[self.style].token

    @property
    def plain_prompt(self) -> str:
        """The text that makes plain `transformers` write in this style: the style's token and the prompt."""
        return " ".join(filter(None, [self.style_token, self.prompt]))

    @property
    def style_writing(self) -> Writing:
        """The capitals and spaces of the style that is written."""
        return self.writing if self.style is None else self.styles[self.style].writing

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
            prompt_pieces: number of tokens that lead a caption in: word pieces of `prompt`, and one of a style.
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


def generation_for(
    before: GenerationSettings,
    checkpoint: Checkpoint,
    captions: Iterable[str],
    *,
    in_styles: Mapping[str, Iterable[str]] | None = None,
    tokens: Mapping[str, str] | None = None,
) -> GenerationSettings:
    """A version's settings after fine-tuning: length limits that include all captions, and the annotators' orthography.

    Args:
        before: the settings of its parent.
        checkpoint: of either.
        captions: the human captions without a named style.
        in_styles: style → the human captions in it.
        tokens: each of these styles' token. Earlier styles that nobody wrote in since stay as they are.
    """
    captions = list(captions)
    styled = {name: list(texts) for name, texts in (in_styles or {}).items()}
    styles = {
        **before.styles,
        **{name: TaughtStyle((tokens or {})[name], learn_writing(styled[name])) for name in styled},
    }
    everything = [*captions, *(caption for texts in styled.values() for caption in texts)]
    wide_enough = before.following(
        (len(encode_caption(checkpoint.tokenizer, caption)) for caption in everything),
        prompt_pieces=len(lead_in(checkpoint.tokenizer, before.prompt)) + bool(styles),
        most=checkpoint.model.config.text_config.max_position_embeddings,
    )
    writing = learn_writing(captions) if captions or not styles else before.writing
    return replace(wide_enough, writing=writing, styles=styles)
