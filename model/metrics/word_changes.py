"""What a person would do to one caption to get another, word by word: kept, taken out, put in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from captionloop.model.captions.text import normalise_caption
from captionloop.model.metrics.scores import word_edits

# Characters. The work grows with the square of the words, and a sync that compares holds the database's lock: two texts
# of 20,000 characters took 20 s.
_LONGEST_COMPARED = 4_000


@dataclass(frozen=True, slots=True)
class WordChange:
    """A run of words that share a fate."""

    kind: Literal["kept", "removed", "added"]
    text: str


def word_changes(caption: str, wanted: str) -> list[WordChange]:
    """The words of both captions merged into one line; kept words are spelt as in `wanted`, case does not count."""
    before, after = normalise_caption(caption).split(), normalise_caption(wanted).split()
    if not are_comparable(caption, wanted):
        return [WordChange("removed", " ".join(before)), WordChange("added", " ".join(after))]
    matcher = SequenceMatcher(None, [word.lower() for word in before], [word.lower() for word in after], autojunk=False)
    changes: list[WordChange] = []
    for operation, first, first_end, second, second_end in matcher.get_opcodes():
        if operation == "equal":
            changes.append(WordChange("kept", " ".join(after[second:second_end])))
            continue
        if first < first_end:
            changes.append(WordChange("removed", " ".join(before[first:first_end])))
        if second < second_end:
            changes.append(WordChange("added", " ".join(after[second:second_end])))
    return changes


def are_comparable(*texts: str) -> bool:
    """Whether texts are short enough to be compared word by word, as all captions of one sentence are."""
    return all(len(text) <= _LONGEST_COMPARED for text in texts)


def nearest_reference(caption: str, references: Sequence[str]) -> str:
    """The reference that needs the fewest words changed; of equals the first, and so it is where they are too long."""
    if not are_comparable(caption, *references):
        return references[0]
    return min(references, key=lambda reference: word_edits(caption, reference))
