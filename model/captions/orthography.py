"""Orthography of captions: capitals, and the spaces around punctuation.

BLIP's tokenizer is uncased and drops spaces, so no amount of training lets the model write "Alt text: Red boat - left
of a cat", "American Sign Language" or a German noun. The annotators' conventions are learnt by counting, stored with
the version, and applied to the model's output. Without any, captions stay in the normal form of `text`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import Strict

from captionloop.errors import CheckpointError
from captionloop.model.captions.neighbours import Met, Neighbours, Place, learn
from captionloop.model.captions.text import (
    Sides,
    is_word,
    join_tokens,
    lower_case,
    sides_of_tokens,
    split_at_spaces,
    split_tokens,
)
from captionloop.setting_fields import Expected, StoredSettings

Case = Literal["plain", "sentence", "title", "upper"]
CASES: tuple[Case, ...] = get_args(Case)

_SENTENCE_ENDS = frozenset(".!?։")
_T = TypeVar("_T")
_Split = tuple[list[str], list[bool]]  # tokens, and whether white space stood before each

# In titles, shorter words (of, and, the) go either way; each is learnt as an exception.
_SHORTEST_TITLE_WORD = 4
# Of the words within German captions three in five have capitals, of those in other languages one in twenty-five. Where
# it is so many, words that nobody wrote yet have them by their ending: by one of three letters or more that at least so
# many words have, all of them with a capital.
_SHARE_OF_CAPITALS = 0.4
_ENDINGS = range(3, 7)
_FEWEST_WORDS = 3

_Spellings = Annotated[Mapping[str, str], Expected("a spelling for each word")]
_JsonSides = Annotated[Sides, Strict(False)]  # a list is a tuple
_Spacing = Annotated[Mapping[str, _JsonSides], Expected("two booleans for each mark")]
_NeighbourSpellings = Annotated[Neighbours[str], Expected("a spelling for each word, by its neighbours")]
_NeighbourSpacing = Annotated[Neighbours[Sides], Expected("two booleans for each mark, by its neighbours")]
_Endings = Annotated[tuple[str, ...], Strict(False), Expected("a list of texts")]


@dataclass(frozen=True)
class Writing(StoredSettings):
    """Conventions that are applied to a caption.

    Args:
        case: "plain" changes nothing, "sentence" capitalises each sentence, "title" each word, "upper" everything.
        words: exceptions: lower-case word → its spelling ("london" → "London").
        openings: the same for the first word of a caption ("alt" → "ALT").
        spacing: punctuation mark → whether it is attached on its left, and on its right, where that differs from the
            normal form ("-" → [False, False] for "red boat - blue sea").
        words_by_neighbours: spellings of words beside certain others ("american sign" → "Sign").
        spacing_by_neighbours: the same for the sides of a mark ("qu ' il" → [True, True]).
        endings: of words that always have a capital within a sentence, for unseen words (German "-ung").

    Raises:
        CheckpointError: a value that cannot be used; the message names it and what is expected.
    """

    called = "writing setting"
    error = CheckpointError

    case: Case = "plain"
    words: _Spellings = field(default_factory=dict)
    openings: _Spellings = field(default_factory=dict)
    spacing: _Spacing = field(default_factory=dict)
    words_by_neighbours: _NeighbourSpellings = field(default_factory=Neighbours)
    spacing_by_neighbours: _NeighbourSpacing = field(default_factory=Neighbours)
    endings: _Endings = ()

    def write(self, caption: str) -> str:
        """The caption with these conventions applied."""
        tokens = split_tokens(caption)
        written = [self._word(tokens, index) for index in range(len(tokens))]
        sides = {index: found for index in range(len(tokens)) if (found := self._sides(tokens, index)) is not None}
        return unicodedata.normalize("NFC", join_tokens(written, sides))

    def _word(self, tokens: list[str], index: int) -> str:
        if not _begins(tokens, index, self.case):
            by_neighbours = self.words_by_neighbours.at(_place(tokens, index))
            if by_neighbours is not None:
                return by_neighbours
        return self._word_alone(tokens, index)

    def _word_alone(self, tokens: list[str], index: int) -> str:
        token = lower_case(tokens[index])
        exceptions = self.words if index else self.openings
        if token in exceptions:
            return exceptions[token]
        if self.endings and index and token.endswith(tuple(self.endings)) and token not in self.words:
            return _capital(token)
        return _in_case(tokens, index, self.case)

    def _sides(self, tokens: list[str], index: int) -> Sides | None:
        """To which neighbours a token holds on; None as in the normal form."""
        by_neighbours = self.spacing_by_neighbours.at(_place(tokens, index))
        return self.spacing.get(tokens[index]) if by_neighbours is None else by_neighbours


def learn_writing(captions: Iterable[str]) -> Writing:
    """The conventions of the majority of captions."""
    split = [split_at_spaces(caption) for caption in captions]
    token_lists = [tokens for tokens, _ in split if tokens]
    case = _majority(Counter(map(case_of, token_lists))) or "plain"
    openings, words = _exceptions(token_lists, case)
    alone = Writing(case=case, words=words, openings=openings, spacing=_unusual_spacing(split))
    # Of a caption that is written in another way than most, no single place says anything.
    usual = [(tokens, spaces) for tokens, spaces in split if tokens and case_of(tokens) == case]
    return replace(
        alone,
        words_by_neighbours=learn(_met_words(alone, [tokens for tokens, _ in usual])),
        spacing_by_neighbours=learn(_met_sides(alone, usual)),
        endings=_capital_endings([tokens for tokens, _ in usual], case),
    )


def _met_words(alone: Writing, token_lists: Iterable[list[str]]) -> Iterator[Met[str]]:
    """The words within sentences, and how they would be written by themselves."""
    for tokens in token_lists:
        lower = list(map(lower_case, tokens))
        for index, token in enumerate(tokens):
            if is_word(token) and not _begins(tokens, index, alone.case):
                yield Met(_place(tokens, index), token, alone._word_alone(lower, index))


def _met_sides(alone: Writing, split: Iterable[_Split]) -> Iterator[Met[Sides]]:
    """The marks, and whether there would be spaces beside them by themselves."""
    for tokens, spaces in split:
        normal = sides_of_tokens(tokens)
        for index, token in enumerate(tokens):
            if not is_word(token):
                visible = _visible(normal, index)
                yield Met(
                    _place(tokens, index), _found_sides(spaces, index, visible), alone.spacing.get(token, visible)
                )


def _place(tokens: list[str], index: int) -> Place:
    """A token's place; what number its neighbours are says nothing."""
    around = [tokens[place] if 0 <= place < len(tokens) else "" for place in (index - 1, index, index + 1)]
    return Place(*("0" if token.isdigit() else lower_case(token) for token in around))


def _found_sides(spaces: list[bool], index: int, otherwise: Sides) -> Sides:
    """Whether no space is on a token's left and right; at the ends of a caption nothing can be said of one."""
    left = not spaces[index] if index else otherwise[0]
    right = not spaces[index + 1] if index + 1 < len(spaces) else otherwise[1]
    return left, right


def _capital_endings(token_lists: Sequence[list[str]], case: Case) -> tuple[str, ...]:
    if case not in ("plain", "sentence"):
        return ()
    has_capital: dict[str, set[bool]] = defaultdict(set)
    for tokens in token_lists:
        for index, token in enumerate(tokens):
            if token.lower() != token.upper() and not _begins(tokens, index, case):
                has_capital[lower_case(token)].add(token == _capital(lower_case(token)))
    always = {word for word, found in has_capital.items() if found == {True}}
    if len(always) < _SHARE_OF_CAPITALS * len(has_capital):
        return ()
    met: dict[str, set[bool]] = defaultdict(set)
    words: Counter[str] = Counter()
    for word in has_capital:
        for ending in {word[-length:] for length in _ENDINGS if len(word) > length}:
            met[ending].add(word in always)
            words[ending] += 1
    sure = {ending for ending, found in met.items() if found == {True} and words[ending] >= _FEWEST_WORDS}
    return tuple(sorted(ending for ending in sure if ending[1:] not in sure))


def _majority(counts: Counter[_T]) -> _T | None:
    """The element with more than half of the counts, if there is one."""
    return next((item for item, count in counts.items() if 2 * count > counts.total()), None)


def case_of(tokens: list[str]) -> Case:
    """How a caption of these tokens has capitals."""
    words = [token for token in tokens if token.lower() != token.upper()]
    if not words or words[0][0].islower():
        return "plain"
    if all(word.isupper() for word in words) and len("".join(words)) > 1:
        return "upper"
    long_words = [word for word in words[1:] if len(word) >= _SHORTEST_TITLE_WORD]
    return "title" if long_words and all(word[0].isupper() for word in long_words) else "sentence"


def _in_case(tokens: list[str], index: int, case: Case) -> str:
    token = tokens[index]
    if case == "upper":
        return token.upper()
    return _capital(token) if case == "title" or (case == "sentence" and _begins(tokens, index, case)) else token


def _begins(tokens: list[str], index: int, case: Case) -> bool:
    return index == 0 or (case == "sentence" and tokens[index - 1] in _SENTENCE_ENDS)


def _capital(token: str) -> str:
    """With a capital as a title has it, which is none in scripts that have capitals for whole words alone."""
    return token[0].title() + token[1:]


def _exceptions(token_lists: Sequence[list[str]], case: Case) -> tuple[dict[str, str], dict[str, str]]:
    """Words that mostly differ from the rule: first words of captions, and all others."""
    written: dict[tuple[bool, str], Counter[str]] = defaultdict(Counter)
    regular: dict[tuple[bool, str], set[str]] = defaultdict(set)
    for tokens in token_lists:
        lower = [lower_case(token) for token in tokens]
        for index, token in enumerate(tokens):
            place = index == 0, lower[index]
            written[place][token] += 1
            regular[place].add(_in_case(lower, index, case))
    openings: dict[str, str] = {}
    words: dict[str, str] = {}
    for (opens, word), forms in written.items():
        form = _majority(forms)
        # A word that opens sentences too has several regular forms; it is an exception only if none of them fits.
        if form is not None and form not in regular[opens, word]:
            (openings if opens else words)[word] = form
    return openings, words


def _unusual_spacing(split: Iterable[tuple[list[str], list[bool]]]) -> dict[str, Sides]:
    """Marks whose spacing mostly differs from the normal form."""
    # None counts the occurrences in the normal form.
    found: dict[str, Counter[Sides | None]] = defaultdict(Counter)
    for tokens, spaces in split:
        normal = sides_of_tokens(tokens)
        for index in range(1, len(tokens) - 1):
            if not is_word(tokens[index]):
                sides = (not spaces[index], not spaces[index + 1])
                found[tokens[index]][sides if sides != _visible(normal, index) else None] += 1
    majorities = {mark: _majority(counts) for mark, counts in found.items()}
    return {mark: sides for mark, sides in majorities.items() if sides is not None}


def _visible(normal: list[Sides], index: int) -> Sides:
    """Whether the normal form has no space on the left and on the right, whichever token attaches there."""
    to_left, to_right = normal[index]
    return to_left or (index > 0 and normal[index - 1][1]), to_right or (
        index + 1 < len(normal) and normal[index + 1][0]
    )
