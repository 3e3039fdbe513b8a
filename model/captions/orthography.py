"""Orthography of captions: capitals, and the spaces around punctuation.

BLIP's tokenizer is uncased and drops spaces, so no amount of training lets the model write "Alt text: Red boat - left
of a cat". The annotators' conventions are learnt by counting, stored with the version, and applied to the model's
output. Without any, captions stay in the normal form of `text`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar, get_args

from captionloop.errors import CheckpointError
from captionloop.model.captions.text import Sides, is_word, join_tokens, sides_of_tokens, split_at_spaces, split_tokens
from captionloop.setting_fields import refuse_unknown

Case = Literal["plain", "sentence", "title", "upper"]
CASES: tuple[Case, ...] = get_args(Case)

_SENTENCE_ENDS = frozenset(".!?")
_T = TypeVar("_T")

# In titles, shorter words (of, and, the) go either way; each is learnt as an exception.
_SHORTEST_TITLE_WORD = 4


@dataclass(frozen=True)
class Writing:
    """Conventions that are applied to a caption.

    Args:
        case: "plain" changes nothing, "sentence" capitalises each sentence, "title" each word, "upper" everything.
        words: exceptions: lower-case word → its spelling ("london" → "London").
        openings: the same for the first word of a caption ("alt" → "ALT").
        spacing: punctuation mark → whether it is attached on its left, and on its right, where that differs from the
            normal form ("-" → [False, False] for "red boat - blue sea").

    Raises:
        CheckpointError: an unknown case.
    """

    case: Case = "plain"
    words: Mapping[str, str] = field(default_factory=dict)
    openings: Mapping[str, str] = field(default_factory=dict)
    spacing: Mapping[str, Sides] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.case not in CASES:
            raise CheckpointError(f"Writing case is {self.case!r}; expected one of {', '.join(map(repr, CASES))}.")

    def write(self, caption: str) -> str:
        """The caption with these conventions applied."""
        tokens = split_tokens(caption)
        written = []
        for index, token in enumerate(tokens):
            exceptions = self.words if index else self.openings
            written.append(exceptions.get(token.lower()) or _in_case(tokens, index, self.case))
        return join_tokens(written, self.spacing)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Writing:
        """The mirror of `to_dict`; what is missing takes its default.

        Raises:
            CheckpointError: an unknown name or a wrong value.
        """
        refuse_unknown(cls, values, called="writing setting", error=CheckpointError)
        try:
            spacing = {mark: (bool(left), bool(right)) for mark, (left, right) in values.get("spacing", {}).items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"spacing is {values['spacing']!r}; expected two booleans for each mark.") from error
        return cls(**{**values, "spacing": spacing})


def learn_writing(captions: Iterable[str]) -> Writing:
    """The conventions of the majority of captions."""
    split = [split_at_spaces(caption) for caption in captions]
    token_lists = [tokens for tokens, _ in split if tokens]
    case = _majority(Counter(map(_case_of, token_lists))) or "plain"
    openings, words = _exceptions(token_lists, case)
    return Writing(case=case, words=words, openings=openings, spacing=_unusual_spacing(split))


def _majority(counts: Counter[_T]) -> _T | None:
    """The element with more than half of the counts, if there is one."""
    return next((item for item, count in counts.items() if 2 * count > counts.total()), None)


def _case_of(tokens: list[str]) -> Case:
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
    begins = index == 0 or (case == "sentence" and tokens[index - 1] in _SENTENCE_ENDS)
    if case == "title" or (case == "sentence" and begins):
        return token[0].upper() + token[1:]
    return token


def _exceptions(token_lists: Sequence[list[str]], case: Case) -> tuple[dict[str, str], dict[str, str]]:
    """Words that mostly differ from the rule: first words of captions, and all others."""
    written: dict[tuple[bool, str], Counter[str]] = defaultdict(Counter)
    regular: dict[tuple[bool, str], set[str]] = defaultdict(set)
    for tokens in token_lists:
        lower = [token.lower() for token in tokens]
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
    return normal[index][0] or normal[index - 1][1], normal[index][1] or normal[index + 1][0]
