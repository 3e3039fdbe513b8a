"""What migration 0002 wrote into corrections that were there already: words changed, text to search, guessed category.

A copy of the code of then. Nothing else may use it, and it imports nothing of ours, so that the migration does the same
in every release (`tests/model/migrations/test_migrations.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, groupby
from typing import Any

from rapidfuzz.distance import Levenshtein

_MOST_WORDS_COMPARED, _MOST_CAPTIONS_COMPARED = 10_000, 100
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def derived(suggestion: str | None, captions: Sequence[str]) -> dict[str, Any]:
    """The columns by name."""
    nearest = _nearest(suggestion, captions) if suggestion and captions else None
    return {
        "words_changed": _words_changed(suggestion, nearest) if suggestion and nearest else None,
        "search_text": _UNSTORABLE.sub("\ufffd", "\n".join([suggestion or "", *captions]).casefold()),
        "guess": _guess(suggestion, nearest) if suggestion and nearest else None,
    }


def _nearest(suggestion: str, captions: Sequence[str]) -> str | None:
    """The caption that takes the fewest changes; None where the texts are too long to be compared."""
    words = len(_words_of(suggestion))
    compared = captions[:_MOST_CAPTIONS_COMPARED]
    if min(words, sum(len(_words_of(caption)) for caption in compared)) > _MOST_WORDS_COMPARED:
        return None
    return min(compared, key=lambda caption: _words_changed(suggestion, caption))


def _words_changed(one: str, other: str) -> int:
    return Levenshtein.distance(_words_of(one), _words_of(other))


def _words_of(text: str) -> list[str]:
    return _normal_form(text).lower().split()


# --- the normal form of a caption ----------------------------------------------------------------------------------

_OPENING = frozenset("([{#$@~¿¡«“‘„‚（【「『《〈")
_CLOSING = frozenset(")]},.;:!?%…»”，。、！？：；）】」』》〉")
_JOINING = frozenset("-/\\_‐‑")
_HELD_BY_HYPHEN = _JOINING | frozenset(")]}%")  # (left)-hand, 50%-off
_FULL_WIDTH = frozenset("（【「『《〈，。、！？：；）】」』》〉")
_APOSTROPHES = frozenset("'’")

_AFTER_APOSTROPHE = frozenset({"s", "t", "d", "m", "ll", "re", "ve"})  # woman's, don't, he'd, i'm, we'll, they're, i've
_BEFORE_APOSTROPHE = frozenset({"o", "d", "l", "y"})  # o'clock, d'or, l'eau, y'all


Sides = tuple[bool, bool]


def _normal_form(text: str) -> str:
    return _joined(_split(text))


def _split(text: str) -> list[str]:
    """Words and punctuation marks."""
    tokens: list[list[str]] = []  # by characters
    in_word = False
    for character in _composed(text):
        kind = _kind(character)
        if kind == "space":
            in_word = False
        elif kind == "word" and in_word:
            tokens[-1].append(character)
        elif kind != "none":
            tokens.append([character])
            in_word = kind == "word"
    return ["".join(characters) for characters in tokens]


def _composed(text: str) -> str:
    """NFC. Python's own sorts the marks on a letter by insertion, which takes hours on a text of marks alone."""
    if text.isascii():
        return text
    decomposed = "".join(map(_decomposed, text))
    ordered = (
        sorted(run, key=unicodedata.combining) if are_marks else run
        for are_marks, run in groupby(decomposed, lambda character: unicodedata.combining(character) > 0)
    )
    return unicodedata.normalize("NFC", "".join(chain.from_iterable(ordered)))


@lru_cache(maxsize=4096)
def _decomposed(character: str) -> str:
    return unicodedata.normalize("NFD", character)


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """ "space", "mark" (its own token), "word", or "none" (dropped), by the rules of BERT's `BasicTokenizer`."""
    category = unicodedata.category(character)
    if character.isspace() or category == "Zs":
        return "space"
    if category.startswith("C") or character == "\ufffd":
        return "none"
    ascii_mark = character.isascii() and not character.isalnum()
    if ascii_mark or category.startswith("P") or _is_ideograph(character):
        return "mark"
    return "word"


def _is_ideograph(character: str) -> bool:
    """The CJK blocks that BERT splits into single characters (Hangul and kana are not among them)."""
    code = ord(character)
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x2CEAF
        or 0x2F800 <= code <= 0x2FA1F
    )


def _joined(tokens: list[str]) -> str:
    parts: list[str] = []
    holds_right = True
    for token, (to_left, to_right) in zip(tokens, _sides_of_tokens(tokens), strict=True):
        if not (holds_right or to_left):
            parts.append(" ")
        parts.append(token)
        holds_right = to_right
    return "".join(parts)


def _sides_of_tokens(tokens: list[str]) -> list[Sides]:
    """The sides on which each token is attached in the normal form."""
    quotes = _quote_sides(tokens)
    return [quotes.get(index) or _sides(tokens, index) for index in range(len(tokens))]


def _is_word(token: str) -> bool:
    return bool(token) and _kind(token[0]) == "word"


def _sides(tokens: list[str], index: int) -> Sides:
    token = tokens[index]
    before = tokens[index - 1] if index else ""
    after = tokens[index + 1] if index + 1 < len(tokens) else ""
    if token in _FULL_WIDTH or _is_ideograph(token[0]):
        return True, True
    if token in _JOINING:
        held = _is_word(before) or before in _HELD_BY_HYPHEN or before + token == ":/"
        return held, held or after[:1].isdigit()
    if _is_inside_number(token, before, after) or _is_inside_abbreviation(tokens, index):
        return True, True
    if token in _CLOSING:
        return True, False
    return False, token in _OPENING


def _is_inside_number(mark: str, before: str, after: str) -> bool:
    """3.5, 1,200 and 10:30, but not "in 2019, 5 people" nor "scene 1: 3 cars"."""
    if not (before[-1:].isdigit() and after[:1].isdigit()):
        return False
    if mark == ",":
        return len(before) <= 3 and before.isdigit() and len(after) == 3 and after.isdigit()
    if mark == ":":
        return len(before) <= 2 and before.isdigit() and len(after) == 2 and after.isdigit()
    return mark == "."


def _is_inside_abbreviation(tokens: list[str], index: int) -> bool:
    """The first full stop of "e.g." or "p.m." (single letters, and another one follows), and that of "name.com"."""
    if tokens[index] != "." or not 0 < index < len(tokens) - 1:
        return False
    before, after = tokens[index - 1], tokens[index + 1]
    single_letters = len(before) == len(after) == 1 and (before + after).isalpha()
    return (single_letters and tokens[index + 2 : index + 3] == ["."]) or before == "www" or after in ("com", "org")


def _quote_sides(tokens: list[str]) -> dict[int, Sides]:
    """For each straight quotation mark and apostrophe, by position, the sides on which it is attached."""
    sides: dict[int, Sides] = {}
    first_opening = tokens.index("‘") if "‘" in tokens else len(tokens)
    for mark in "'", "’", '"', "`":
        unpaired = []
        for index in (index for index, token in enumerate(tokens) if token == mark):
            if mark in _APOSTROPHES and _is_apostrophe(tokens, index):
                sides[index] = (True, True)
            else:
                unpaired.append(index)
        # ’ closes what ‘ opened, so two of them are no pair.
        pairs = [] if mark == "’" else list(zip(unpaired[::2], unpaired[1::2], strict=False))
        for opening, closing in pairs:
            sides[opening], sides[closing] = (False, True), (True, False)
        for index in unpaired[2 * len(pairs) :]:
            sides[index] = _lone_quote(tokens, index, closes=mark == "’" and first_opening < index)
    return sides


def _is_apostrophe(tokens: list[str], index: int) -> bool:
    if not 0 < index < len(tokens) - 1:
        return False
    before, after = tokens[index - 1].lower(), tokens[index + 1].lower()
    return _is_word(before) and (after in _AFTER_APOSTROPHE or (before in _BEFORE_APOSTROPHE and _is_word(after)))


def _lone_quote(tokens: list[str], index: int, *, closes: bool) -> Sides:
    """An unpaired mark closes (the girls' toys, a 5" disc, at the end of the text) or else opens ('til, '90s)."""
    mark, before = tokens[index], tokens[index - 1] if index else ""
    plural = mark in _APOSTROPHES and before.lower().endswith("s")
    to_left = closes or plural or before[-1:].isdigit() or index == len(tokens) - 1
    return to_left, not to_left


# --- the guess of what was wrong -----------------------------------------------------------------------------------


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
        words = [word for token in _split(caption.lower()) if (word := _MARK.sub("", token))]
        said = [_read(word, place) for place, word in enumerate(words) if word not in _LINKING]
        return cls(words, said, _tail(words))

    @cached_property
    def stems(self) -> dict[str, _Word]:
        return {word.stem: word for word in self.said}

    @cached_property
    def at(self) -> dict[int, _Word]:
        """The words by their place."""
        return {word.place: word for word in self.said}


def _guess(suggestion: str, caption: str) -> str | None:
    """The category of error of a suggestion, given its correction; None when no word was changed."""
    if not _words_changed(suggestion, caption):
        return None
    before, after = _Read.of(suggestion), _Read.of(caption)
    if "".join(before.words) == "".join(after.words):  # "base ball", "baseball"
        return "wording"
    changed = {_kind_of(word, read, other) for read, other in ((before, after), (after, before))
               for word in _only_in(read, other)}  # fmt: skip
    if _number_differs(before, after):
        changed.add("number")
    if not changed:
        return "wording"
    order = ("number", "subject", "attributes", "background", "other")
    return next(category for category in order if category in changed)


def _only_in(read: _Read, other: _Read) -> Iterator[_Word]:
    elsewhere = other.stems
    misspelt = _by_letters(word for word in elsewhere if word not in read.stems)
    for word in read.said:
        if word.stem not in elsewhere and not _is_misspelt(word.stem, misspelt):
            yield word


def _kind_of(word: _Word, read: _Read, other: _Read) -> str:
    if word.stem in _NUMBERS:
        return "number"
    if word.stem in _ATTRIBUTES:
        return "attributes"
    if word.stem in _SCENERY or word.stem in _PLACES:
        return "background"
    if _is_verb(read.words[word.place]):
        return "other"
    if _describes_what_stayed(word, read, other):
        return "attributes"
    return "background" if word.place > read.tail else "subject"


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
