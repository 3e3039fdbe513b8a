"""A guess of the category of error of a suggestion, from the words that a person changed.

Word lists and English word order, no model: fast, deterministic and explainable. Function words and synonyms or
spelling variants (grey and gray, sofa and couch) are ignored. Of the words that are in only one of the two captions,
the first rule that matches decides:

1. number: a number word, or the same noun as singular and plural;
2. subject: a noun that is not in the background;
3. attributes: a colour, size, material or age, or a word right before an unchanged noun;
4. background: a word of scenery, a preposition of place (above, behind), or anything after one;
5. other: the rest, such as actions.

Without such words the category is wording. Number comes first because a number word is the most reliable sign; a
changed subject usually changes its attributes as well, hence the order of the others.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from captionloop.model.captions.text import split_tokens
from captionloop.model.database import Category
from captionloop.model.metrics.word_changes import word_edits


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Function words, and words about the picture as such: wording, not content.
_LINKING = _words(
    "a an one the this that these those its it his her their there here is are was were be being been has have had and "
    "or but while as of to at by for from with in on into onto which who whom some very next up close closeup view "
    "photo photograph picture image shot scene drawing shows showing depicts depicting seen left-hand right-hand side"
)
_NUMBERS = _words(
    "two three four five six seven eight nine ten eleven twelve dozen dozens several many few multiple couple pair "
    "pairs both group groups bunch crowd crowds single lone numerous various"
)
_DIGITS = {
    "2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine",
    "10": "ten", "11": "eleven", "12": "twelve",
}  # fmt: skip
_ATTRIBUTES = _words(
    "red orange yellow green blue purple violet pink brown black white grey golden gold silver beige tan navy teal "
    "turquoise maroon colorful colourful dark light bright pale blond blonde small big tiny huge tall short long wide "
    "narrow thin thick fat giant medium young old new older younger elderly baby wooden metal metallic plastic glass "
    "leather brick concrete striped spotted plaid checkered floral plain shiny dirty clean empty full open closed wet "
    "dry broken fluffy furry hairy bald smiling happy sad round square oval flat modern vintage antique beautiful cute "
    "hot cold fresh ripe raw sliced cooked"
)
_SCENERY = _words(
    "background foreground backdrop sky cloud sunset sunrise horizon sun grass lawn field meadow pasture forest wood "
    "mountain hill desert beach sand shore coast ocean sea lake river pond water wave snow ice slope road street "
    "sidewalk pavement highway path trail city town village park garden yard room kitchen bathroom bedroom office "
    "restaurant store station airport wall floor ceiling ground indoors outdoors night daylight fog shadow"
)
# Prepositions of place that differ in meaning: changing one moves the object.
_PLACES = _words(
    "above below under beneath underneath over behind beside near inside outside between among around front back left "
    "right top bottom across along against through beyond middle center corner edge"
)
_TAIL_BEGINS = _PLACES | _words("in on at")
_CLOTHES = _words(
    "shirt t-shirt dress jacket coat suit hat cap helmet uniform shorts pants jeans skirt sweater hoodie tie glasses "
    "shoe boot glove costume robe vest"
)
_SYNONYMS = (
    "grey gray", "sofa couch", "bike bicycle", "motorcycle motorbike", "plane airplane aeroplane aircraft",
    "big large", "small little", "phone cellphone telephone smartphone", "tv television", "kid child", "car auto",
    "colorful colourful", "center centre", "near nearby beside", "under beneath underneath below", "over above",
    "rock stone", "store shop", "street road", "man guy", "dog puppy", "cat kitten",
)  # fmt: skip
_SAME = {word: synonyms.split()[0] for synonyms in _SYNONYMS for word in synonyms.split()}
_IRREGULAR = {
    "men": "man", "women": "woman", "people": "person", "persons": "person", "children": "child", "feet": "foot",
    "teeth": "tooth", "mice": "mouse", "geese": "goose", "leaves": "leaf", "knives": "knife", "shelves": "shelf",
    "wolves": "wolf", "loaves": "loaf", "scarves": "scarf", "oxen": "ox",
}  # fmt: skip
_SINGULAR_IN_S = _words("glass grass dress bus gas canvas tennis lens christmas cactus across")
_VERBS = _words(
    "sit stand rid hold li walk play look fli eat run sleep wear jump driv carri lean fac rest hang watch pos talk "
    "throw hit swing catch cut surf ski swim feed float graz lay park pull push read smil tak us wait work drink fill "
    "cover sat stood held lay fli mak prepar reach travel"
)
_NOUNS_IN_ING = _words("building ceiling painting clothing evening morning railing wedding king ring string wing thing")
_MARK = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class _Word:
    """A content word of a caption.

    Args:
        stem: the same for all spellings, inflections and synonyms that we know.
        is_plural: of a noun.
        place: index among all words of the caption.
    """

    stem: str
    is_plural: bool
    place: int


@dataclass(frozen=True)
class _Read:
    """A caption, read."""

    words: Sequence[str]  # as they stand, lower case
    said: Sequence[_Word]
    tail: int  # index of the first word of place

    @classmethod
    def of(cls, caption: str) -> _Read:
        words = [word for token in split_tokens(caption.lower()) if (word := _MARK.sub("", token))]
        said = [_read(word, place) for place, word in enumerate(words) if word not in _LINKING]
        return cls(words, said, _tail(words))

    @cached_property
    def stems(self) -> dict[str, _Word]:
        return {word.stem: word for word in self.said}

    @cached_property
    def at(self) -> dict[int, _Word]:
        """The words by their place."""
        return {word.place: word for word in self.said}


def guess_category(suggestion: str, caption: str) -> Category | None:
    """The category of error of a suggestion, given its correction; None when no word was changed."""
    if not word_edits(suggestion, caption):
        return None
    before, after = _Read.of(suggestion), _Read.of(caption)
    if "".join(before.words) == "".join(after.words):  # "base ball", "baseball"
        return Category.WORDING
    changed = {_kind_of(word, read, other) for read, other in ((before, after), (after, before))
               for word in _only_in(read, other)}  # fmt: skip
    if _number_differs(before, after):
        changed.add(Category.NUMBER)
    if not changed:
        return Category.WORDING
    order = (Category.NUMBER, Category.SUBJECT, Category.ATTRIBUTES, Category.BACKGROUND, Category.OTHER)
    return next(category for category in order if category in changed)


def content_words(caption: str) -> frozenset[str]:
    """The content words as stems; known synonyms are one stem."""
    return frozenset(word.stem for word in _Read.of(caption).said)


def _only_in(read: _Read, other: _Read) -> Iterator[_Word]:
    elsewhere = other.stems
    misspelt = _by_letters(word for word in elsewhere if word not in read.stems)
    for word in read.said:
        if word.stem not in elsewhere and not _is_misspelt(word.stem, misspelt):
            yield word


def _kind_of(word: _Word, read: _Read, other: _Read) -> Category:
    if word.stem in _NUMBERS:
        return Category.NUMBER
    if word.stem in _ATTRIBUTES:
        return Category.ATTRIBUTES
    if word.stem in _SCENERY or word.stem in _PLACES:
        return Category.BACKGROUND
    if _is_verb(read.words[word.place]):
        return Category.OTHER
    if _describes_what_stayed(word, read, other):
        return Category.ATTRIBUTES
    return Category.BACKGROUND if word.place > read.tail else Category.SUBJECT


def _describes_what_stayed(word: _Word, read: _Read, other: _Read) -> bool:
    """Whether the next word is a noun in both captions: a *tour* bus."""
    following = read.at.get(word.place + 1)
    return (
        following is not None
        and following.stem in other.stems
        and following.stem not in _PLACES | _ATTRIBUTES | _NUMBERS
        and not _is_verb(read.words[following.place])
    )


def _number_differs(before: _Read, after: _Read) -> bool:
    others = after.stems
    return any(
        word.stem in others
        and word.is_plural != others[word.stem].is_plural
        and not _is_verb(before.words[word.place])
        and not _is_verb(after.words[others[word.stem].place])
        for word in before.said
    )


def _tail(words: Sequence[str]) -> int:
    """Start of the part about place: after "in", unless clothes follow, and not at "to the left of"'s noun."""
    for place, word in enumerate(words):
        is_worn = any(_stem(found)[0] in _CLOTHES for found in words[place + 1 : place + 5])
        if place and word in _TAIL_BEGINS and not is_worn:
            return place
    return len(words)


def _read(word: str, place: int) -> _Word:
    stem, is_plural = _stem(word)
    return _Word(stem, is_plural, place)


def _stem(word: str) -> tuple[str, bool]:
    """A word without its ending, and whether it is a plural."""
    word = _DIGITS.get(word, word)
    if word in _NUMBERS or word in _PLACES:
        return _SAME.get(word, word), False
    if _is_verb(word):
        return _verb_stem(word), False
    if word in _IRREGULAR:
        return _SAME.get(_IRREGULAR[word], _IRREGULAR[word]), True
    is_plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) and (
        word not in _SINGULAR_IN_S
    )  # fmt: skip
    if is_plural:
        word = _singular(word)
    return _SAME.get(word, word), is_plural


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "oes")) else word[:-1]


def _is_verb(word: str) -> bool:
    return (len(word) > 4 and word.endswith("ing") and word not in _NOUNS_IN_ING) or _verb_stem(word) in _VERBS


def _verb_stem(word: str) -> str:
    """sits, sitting → sit; rides, riding → rid; flies, flying → fli."""
    for ending in ("ing", "es", "s", "e"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            word = word[: -len(ending)]
            break
    if word.endswith("y"):
        word = word[:-1] + "i"
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls" else word


_Letters = tuple[str, frozenset[str]]
"""The first letter of a word, and all of them."""


def _by_letters(words: Iterable[str]) -> dict[_Letters, set[int]]:
    """How long the words are that have these letters."""
    lengths: dict[_Letters, set[int]] = defaultdict(set)
    for word in words:
        if len(word) > 4:
            lengths[word[0], frozenset(word)].add(len(word))
    return lengths


def _is_misspelt(word: str, others: Mapping[_Letters, Collection[int]]) -> bool:
    """Whether another word is equal except for doubled letters and one transposition: umbrela, brwon."""
    if len(word) <= 4 or word in _SINGULAR_IN_S:
        return False
    lengths = others.get((word[0], frozenset(word)), ())
    return any(len(word) + more in lengths for more in (-1, 0, 1))
