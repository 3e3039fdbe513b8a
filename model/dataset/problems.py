"""Possible problems of a dataset of corrections: simple rules; a person decides.

* **cannot be written**: the model's vocabulary lacks parts of the caption and cannot be extended by them, so it is left
  out of training.
* **picture gone**: our copy of the picture is missing, or there never was one.
* **disagreement**: captions of one picture by several annotators share hardly any content word.
* **same picture**: near-duplicates, whose captions should be alike.
* **test**: a caption typed as a test: "asdf", "test", "xxx".
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from captionloop.model.dataset.category_guess import content_words

# Share of the content words of two captions that both have, below which they describe different things. Of 5 words in
# all, one in common is a disagreement ("a dog on a beach", "two men on a beach"), two are not.
_IN_COMMON = 0.25
# At most so many captions of one picture are compared pairwise.
_COMPARED = 10

_TEST_TEXT = """
test tests testing tested tst asd asdf qwe qwerty xxx yyy zzz foo bar foobar baz lorem ipsum todo tbd none null nan
undefined caption captions blah bla abc abcd aaa dummy example sample hello hi ok okay lol hmm na n/a
"""
_TEST_WORDS = frozenset(_TEST_TEXT.split())
_KEYBOARD_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop")
_VOWELS = frozenset("aeiouyäöüáàâéèêëíîïóôúûæøå")
_REPEATED = re.compile(r"([^\W\d_])\1{3,}")  # four times the same letter, as no English word has it


class ProblemKind(enum.StrEnum):
    """The kinds of problems; the values are used in `dismissal.kind` and in addresses."""

    CANNOT_BE_WRITTEN = "cannot-be-written"
    PICTURE_GONE = "picture-gone"
    DISAGREEMENT = "disagreement"
    SAME_PICTURE = "same-picture"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Captioned:
    """A correction that is used in training, or would be if its picture could be read."""

    id: int
    image: str | None
    captions: Sequence[str]
    annotator: str | None


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem for a person to check.

    Args:
        subject: as in `dismissal.subject`: the number of a correction, or hashes of images.
        corrections: numbers of the affected corrections.
    """

    kind: ProblemKind
    subject: str
    corrections: tuple[int, ...]


def missing_pictures(corrections: Iterable[Captioned], *, has_picture: Callable[[str], bool]) -> list[Problem]:
    """Corrections without our copy of the picture."""
    return [
        of_one(ProblemKind.PICTURE_GONE, correction)
        for correction in corrections
        if correction.image is None or not has_picture(correction.image)
    ]


def disagreement(image: str, corrections: Iterable[Captioned]) -> tuple[float, Problem] | None:
    """Whether annotators disagree about a picture, and the overlap of the most different captions.

    Args:
        corrections: of this image.
    """
    serious = [found for found in corrections if found.captions and not looks_like_a_test(found.captions[0])]
    compared = _one_of_each_caption(serious)[:_COMPARED]
    least = min(
        (in_common(one.captions[0], other.captions[0]) for one, other in combinations(compared, 2)
         if one.annotator != other.annotator),
        default=1.0,
    )  # fmt: skip
    if least >= _IN_COMMON:
        return None
    return least, Problem(ProblemKind.DISAGREEMENT, image, tuple(correction.id for correction in compared))


def same_pictures(corrections: Iterable[Captioned], groups: Iterable[tuple[str, ...]]) -> list[Problem]:
    """Groups of near-duplicates that have corrections.

    Args:
        groups: hashes of near-duplicates.
    """
    of_image: dict[str, Captioned] = {}
    for correction in corrections:
        if correction.image is not None:
            of_image.setdefault(correction.image, correction)
    found = []
    for group in groups:
        images = sorted(image for image in group if image in of_image)
        if len(images) > 1:
            numbers = tuple(of_image[image].id for image in images)
            found.append(Problem(ProblemKind.SAME_PICTURE, " ".join(images), numbers))
    return found


def in_common(one: str, other: str) -> float:
    """Jaccard index of the content words of two captions, 0 to 1; 1 when neither has any."""
    ours, theirs = content_words(one), content_words(other)
    return len(ours & theirs) / len(ours | theirs) if ours | theirs else 1.0


def looks_like_a_test(caption: str) -> bool:
    """Whether a caption was typed as a test.

    Only test words; single Latin letters; no letters at all, except emoji and other symbols; one letter repeated;
    adjacent keys; one long word without a vowel.
    """
    text = caption.casefold().strip()
    words = re.findall(r"[^\W_]+(?:/[^\W_]+)?", text)
    if not words:
        return text.isascii()
    if all(word in _TEST_WORDS or word.isdigit() or _is_latin_letter(word) for word in words):
        return True
    return bool(_REPEATED.search(text)) or (len(words) == 1 and _is_mashed(words[0]))


def _is_latin_letter(word: str) -> bool:
    return len(word) == 1 and word.isascii()


def _is_mashed(word: str) -> bool:
    if len(set(word)) == 1 and len(word) > 2:
        return True
    return _is_run_of_keys(word) or (len(word) > 4 and word.isascii() and word.isalpha() and not set(word) & _VOWELS)


def _is_run_of_keys(word: str) -> bool:
    start = word[:4]
    return len(start) == 4 and any(start in row or start in row[::-1] for row in _KEYBOARD_ROWS)


def of_one(kind: ProblemKind, correction: Captioned) -> Problem:
    """A problem of a single correction."""
    return Problem(kind, str(correction.id), (correction.id,))


def _one_of_each_caption(corrections: Sequence[Captioned]) -> list[Captioned]:
    return list({(found.annotator, found.captions[0].casefold()): found for found in reversed(corrections)}.values())
