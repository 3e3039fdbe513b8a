"""Word-level differences between two captions: kept, removed, added.

Captions are compared in lower-case normal form (`normalise_caption`). The distance is Levenshtein's on words, by
rapidfuzz, which handles 64 words of one caption at once. In scripts without spaces each character is a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Levenshtein

from captionloop.model.captions.scripts import count_units, is_written_without_spaces
from captionloop.model.captions.text import normalise_caption

# Of the shorter of two texts. The cost is at most this over 64 for each word of the longer one, about that of splitting
# it into words.
_MOST_WORDS_COMPARED = 10_000
_MOST_REFERENCES_COMPARED = 100  # each of them costs a pass over the words of the longer text


@dataclass(frozen=True, slots=True)
class WordChange:
    """Consecutive words that are all kept, all removed or all inserted.

    A space precedes them unless they continue a text without spaces.
    """

    kind: Literal["kept", "removed", "added"]
    text: str
    space_before: bool = True


def words_of(caption: str) -> list[str]:
    """The words of a caption's normal form, in lower case."""
    return [word.strip() for word in _spaced_words(normalise_caption(caption).lower())]


def word_edits(caption: str, reference: str) -> int:
    """Levenshtein distance in words between a caption and its reference; 0 means the same caption."""
    return Levenshtein.distance(words_of(caption), words_of(reference))


def word_changes(caption: str, wanted: str) -> list[WordChange]:
    """The words of both captions in one sequence; kept words are spelt as in `wanted`; case is ignored.

    With too many words to compare, all are removed and added.
    """
    before, after = _spaced_words(normalise_caption(caption)), _spaced_words(normalise_caption(wanted))
    changes: list[WordChange] = []
    start = after_start = 0
    for block, after_block, size in _blocks_kept(before, after):
        changes += _run("removed", before[start:block])
        changes += _run("added", after[after_start:after_block])
        changes += _run("kept", after[after_block : after_block + size])
        start, after_start = block + size, after_block + size
    return changes


def are_comparable(caption: str, other: str) -> bool:
    """Whether two texts are short enough to be compared word by word, as all captions of one sentence are."""
    return _are_few(len(words_of(caption)), len(words_of(other)))


def nearest_reference(caption: str, references: Sequence[str]) -> str:
    """The reference that needs the fewest words changed, of the first hundred; the first one if they are too long."""
    words = words_of(caption)
    compared = {reference: words_of(reference) for reference in references[:_MOST_REFERENCES_COMPARED]}
    if not _are_few(len(words), sum(map(len, compared.values()))):
        return references[0]
    return min(compared, key=lambda reference: Levenshtein.distance(words, compared[reference]))


def _are_few(words: int, others: int) -> bool:
    return min(words, others) <= _MOST_WORDS_COMPARED


def _run(kind: Literal["kept", "removed", "added"], words: Sequence[str]) -> list[WordChange]:
    return [WordChange(kind, "".join(words).strip(), space_before=words[0].startswith(" "))] if words else []


def _spaced_words(text: str) -> list[str]:
    """The words of a normal form, each with the space that stands before it, if one does."""
    words: list[str] = []
    for word in text.split():
        first, *others = count_units(word)
        opens_without_space = not words and is_written_without_spaces(first)
        words += [first if opens_without_space else f" {first}", *others]
    return words


def _blocks_kept(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Matching blocks of words: start in both, and length; the last one has length 0."""
    if _are_few(len(before), len(after)):
        edits = Levenshtein.editops([word.strip().lower() for word in before], [word.strip().lower() for word in after])
        yield from ((block.a, block.b, block.size) for block in edits.as_matching_blocks())
    else:
        yield len(before), len(after), 0
