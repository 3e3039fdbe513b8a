"""How people write their captions beyond the words: capitals, and the spaces around punctuation.

BLIP's tokenizer is uncased and forgets spaces, so no amount of training lets the model write "Alt text: Red boat - left
of a cat". What people's captions have in common there is learnt beside it, by counting, kept with the version, and put
back on what the model says. Without anything learnt, captions stay in the normal form of `text`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from captionloop.errors import CheckpointError
from captionloop.model.text import Sides, is_word, join_tokens, sides_of_tokens, split_at_spaces, split_tokens

Case = Literal["plain", "sentence", "title", "upper"]
CASES: tuple[Case, ...] = get_args(Case)

_SENTENCE_ENDS = frozenset(".!?")
# In titles, shorter words (of, and, the) go either way; each one's own way is learnt as an exception.
_SHORTEST_TITLE_WORD = 4


@dataclass(frozen=True)
class Writing:
    """What is put back on a caption.

    Args:
        case: "plain" leaves it as it is, "sentence" begins each sentence with a capital, "title" each word, and "upper"
            is all capitals.
        words: lower-case word → how it is written against that rule ("london" → "London").
        openings: the same for the first word of a caption ("alt" → "ALT").
        spacing: punctuation mark → whether it holds on to its left, and to its right, where that is not the normal form
            ("-" → [False, False] for "red boat - blue sea").

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
        """The caption as people would have written it."""
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
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise CheckpointError(f"Unknown writing setting {', '.join(unknown)}; known are {', '.join(known)}.")
        spacing = {mark: (bool(left), bool(right)) for mark, (left, right) in values.get("spacing", {}).items()}
        return cls(**{**values, "spacing": spacing})


def learn_writing(captions: Iterable[str]) -> Writing:
    """What most of the captions have in common; a habit of the few changes nothing."""
    captions = [caption for caption in captions if split_tokens(caption)]
    case = _usual_case(captions)
    openings, words = _exceptions(captions, case)
    return Writing(case=case, words=words, openings=openings, spacing=_unusual_spacing(captions))


def _usual_case(captions: Iterable[str]) -> Case:
    votes = Counter(_case_of(split_tokens(caption)) for caption in captions)
    case, count = votes.most_common(1)[0] if votes else ("plain", 0)
    return case if 2 * count > votes.total() else "plain"


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


def _exceptions(captions: Iterable[str], case: Case) -> tuple[dict[str, str], dict[str, str]]:
    """Words that are mostly written against the rule: those that open a caption, and all others."""
    seen: tuple[dict[str, Counter[str]], dict[str, Counter[str]]] = (defaultdict(Counter), defaultdict(Counter))
    regular: tuple[dict[str, Counter[str]], dict[str, Counter[str]]] = (defaultdict(Counter), defaultdict(Counter))
    for caption in captions:
        tokens = split_tokens(caption)
        lower = [token.lower() for token in tokens]
        for index, token in enumerate(tokens):
            place = int(index > 0)
            seen[place][lower[index]][token] += 1
            regular[place][lower[index]][_in_case(lower, index, case)] += 1
    found: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for place in (0, 1):
        for word, forms in seen[place].items():
            form, count = forms.most_common(1)[0]
            # A word that opens sentences too has several regular forms; it is an exception only if none of them fits.
            if 2 * count > forms.total() and form not in regular[place][word]:
                found[place][word] = form
    return found


def _unusual_spacing(captions: Iterable[str]) -> dict[str, Sides]:
    """Marks that are mostly written with other spaces around them than in the normal form."""
    unlike: dict[str, Counter[Sides]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for caption in captions:
        tokens, spaces = split_at_spaces(caption)
        normal = sides_of_tokens(tokens)
        for index in range(1, len(tokens) - 1):
            if is_word(tokens[index]):
                continue
            total[tokens[index]] += 1
            sides = (not spaces[index], not spaces[index + 1])
            if sides != _visible(normal, index):
                unlike[tokens[index]][sides] += 1
    found = {}
    for mark, forms in unlike.items():
        sides, count = forms.most_common(1)[0]
        if 2 * count > total[mark]:
            found[mark] = sides
    return found


def _visible(normal: list[Sides], index: int) -> Sides:
    """Whether the normal form has no space on either side, be it the neighbour that holds on."""
    return normal[index][0] or normal[index - 1][1], normal[index][1] or normal[index + 1][0]
