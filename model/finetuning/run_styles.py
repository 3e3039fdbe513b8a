"""The styles of a run: by which token each is led in, and which one is validated, judged and served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from captionloop.errors import RunError
from captionloop.model.blip.generation_settings import GenerationSettings, generation_for
from captionloop.model.vocabulary.style_tokens import tokens_for

if TYPE_CHECKING:
    from captionloop.model.blip.checkpoint import Checkpoint
    from captionloop.model.captioning.captioner import Captioner
    from captionloop.model.captions.example import Example


@dataclass(frozen=True)
class RunStyles:
    """The styles that a run teaches.

    Args:
        captions: style → the human captions in it; None is the style without a name.
        tokens: style → its token, of those that have a name.
        served: the style that the new version writes.
    """

    captions: Mapping[str | None, Sequence[str]]
    tokens: Mapping[str, str]
    served: str | None

    @classmethod
    def of(cls, examples: Sequence[Example], champion: Captioner, *, current: str | None) -> RunStyles:
        """
        Args:
            examples: of the snapshot, as far as they may be known to the run.
            champion: what is trained from; the styles that it knows keep their tokens.
            current: the project's style. Before anybody wrote in it, the champion's is served on.
        """
        captions: dict[str | None, list[str]] = {}
        for example in examples:
            captions.setdefault(example.style, []).append(example.caption)
        known = {name: style.token for name, style in champion.generation.styles.items()}
        named = [style for style in captions if style is not None]
        return cls(
            captions=captions,
            tokens=tokens_for(named, champion.checkpoint.tokenizer, known=known),
            served=current if current in captions else champion.generation.style,
        )

    def generation(self, before: GenerationSettings, checkpoint: Checkpoint) -> GenerationSettings:
        """The settings of the new version: lengths and orthography of each style, and the style that it writes.

        Args:
            before: those of the champion.
            checkpoint: with the run's tokens.
        """
        found = generation_for(
            before,
            checkpoint,
            self.captions.get(None, ()),
            in_styles={style: self.captions[style] for style in self.tokens},
            tokens=self.tokens,
        )
        return replace(found, style=self.served)


def held_out_in(style: str | None, held_out: Sequence[str], references: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The held-out images that have a caption in a style.

    Raises:
        RunError: there are none.
    """
    images = tuple(image for image in held_out if image in references)
    if not images:
        called = "without a name" if style is None else repr(style)
        raise RunError(
            f"None of the {len(references)} images with captions in the style {called} is held out, so nobody could "
            "say whether a new version writes it better. Correct more captions; about one image of five is held out."
        )
    return images


def writing_in(captioner: Captioner, style: str | None) -> Captioner:
    """The captioner in a style; in its own, if it was not taught that one."""
    return captioner.in_style(captioner.generation.written_in(style))
