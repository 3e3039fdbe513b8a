"""A caption of a version, marked as a person would correct it."""

from collections.abc import Sequence
from dataclasses import dataclass

from captionloop.model.evaluation.comparison_file import EvaluatedCaption
from captionloop.model.metrics.word_changes import WordChange, nearest_reference, word_changes


@dataclass(frozen=True)
class CaptionLine:
    """What one version wrote for an image, marked as a person would correct it."""

    version: str
    changes: Sequence[WordChange]
    word_edits: int
    exact: bool

    @classmethod
    def of(cls, version: str, written: EvaluatedCaption, references: Sequence[str]) -> "CaptionLine":
        changes = word_changes(written.caption, nearest_reference(written.caption, references))
        return cls(version, changes, written.word_edits, written.exact_match)
