"""What a version suggests in other text boxes beside that for captions, each in the style of the box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captionloop.backend.label_studio.annotations import is_suggestion_for
from captionloop.backend.label_studio.controls import other_targets
from captionloop.backend.label_studio.label_config import CaptionTarget
from captionloop.model.active_learning.project_settings import settings_of
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import Project
from captionloop.model.dataset.styles import ProjectStyles

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import ScoredCaption


@dataclass(frozen=True)
class BoxWriters:
    """
    Args:
        written: boxes whose style the version was taught, each with it.
        repeated: boxes that begin with the suggested caption, as long as the version was not taught theirs.
    """

    written: Sequence[tuple[CaptionTarget, str]]
    repeated: Sequence[CaptionTarget]

    @classmethod
    def of(cls, project: Project, styles: ProjectStyles, generation: GenerationSettings) -> BoxWriters:
        """
        Raises:
            LabelConfigError: the label config has no text box for captions, or a person must choose one first.
        """
        boxes = {box.from_name: box for box in other_targets(project)}
        known = {name: style for name in boxes if (style := styles.of_boxes.get(name)) in generation.styles and style}
        unknown = [] if settings_of(project).empty_boxes == "empty" else [name for name in boxes if name not in known]
        return cls([(boxes[name], style) for name, style in known.items()], [boxes[name] for name in unknown])

    @property
    def styles(self) -> Sequence[str]:
        """Those to write in, in the order of `texts`."""
        return [style for _, style in self.written]

    def texts(self, caption: ScoredCaption, others: Sequence[ScoredCaption]) -> dict[str, str]:
        """What is suggested in the boxes, by their names.

        Args:
            caption: the suggested one.
            others: those in `styles`.
        """
        written = {box.from_name: text.caption for (box, _), text in zip(self.written, others, strict=True)}
        return written | {box.from_name: caption.caption for box in self.repeated}

    def items(self, texts: Mapping[str, str]) -> list[tuple[CaptionTarget, str]]:
        """The boxes with what is suggested in them."""
        return [(box, texts[box.from_name]) for box in self._boxes if box.from_name in texts]

    def are_in(self, result: Any) -> bool:
        """Whether a prediction's result has something for each of the boxes."""
        return all(is_suggestion_for(box, result) for box in self._boxes)

    @property
    def _boxes(self) -> Sequence[CaptionTarget]:
        return [*(box for box, _ in self.written), *self.repeated]
