"""What may be wrong with a dataset of corrections. Rules that a person can check; a person also decides.

* **cannot be written**: the caption has words that the model's vocabulary lacks, so it is not trained on.
* **picture gone**: our copy of the picture is missing, or there never was one.
* **disagreement**: several annotators described one picture and hardly a word that says something is in both captions.
* **same picture**: pictures that look alike, whose captions ought to be alike.
* **test**: a caption that was typed to try something out: "asdf", "test", "xxx".
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
# Captions of one picture that are compared with each other; more would take time and tell nothing new.
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
    """What may be wrong; the values stand in `dismissal.kind` and in addresses."""

    CANNOT_BE_WRITTEN = "cannot-be-written"
    PICTURE_GONE = "picture-gone"
    DISAGREEMENT = "disagreement"
    SAME_PICTURE = "same-picture"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Captioned:
    """A correction that teaches, or would if its picture could be read."""

    id: int
    image: str | None
    captions: Sequence[str]
    annotator: str | None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something for a person to look at.

    Args:
        subject: what has it, as `dismissal.subject` names it: the number of a correction, or hashes of images.
        corrections: numbers of those that are concerned.
    """

    kind: ProblemKind
    subject: str
    corrections: tuple[int, ...]


def missing_pictures(corrections: Iterable[Captioned], *, has_picture: Callable[[str], bool]) -> list[Problem]:
    """Corrections whose picture we have no copy of."""
    return [
        of_one(ProblemKind.PICTURE_GONE, correction)
        for correction in corrections
        if correction.image is None or not has_picture(correction.image)
    ]


def disagreement(image: str, corrections: Iterable[Captioned]) -> tuple[float, Problem] | None:
    """Whether annotators describe a picture very differently, and how much the most different captions have in common.

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
    """Pictures that look alike and have corrections, group by group.

    Args:
        groups: hashes of images that look alike.
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
    """The share of the content words of two captions that both have, 0 to 1; 1 when neither has any."""
    ours, theirs = content_words(one), content_words(other)
    return len(ours & theirs) / len(ours | theirs) if ours | theirs else 1.0


def looks_like_a_test(caption: str) -> bool:
    """Whether somebody typed this to try something out.

    Nothing but words of tests; single Latin letters; no letters at all, unless in signs that are a picture or a word
    themselves; one letter many times; keys beside each other; one long word without a vowel.
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
    """A problem that a correction has by itself."""
    return Problem(kind, str(correction.id), (correction.id,))


def _one_of_each_caption(corrections: Sequence[Captioned]) -> list[Captioned]:
    return list({(found.annotator, found.captions[0].casefold()): found for found in reversed(corrections)}.values())
