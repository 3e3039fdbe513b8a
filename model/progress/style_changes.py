"""Changes of manner in a project's corrections: people write otherwise than before, in the same way again and again.

Each correction is compared with its suggestion. A habit is one way of correcting: one word for another, another first
word, other capitals, another end, another order, a longer or shorter caption. A change is a habit that was rare at
first and is usual from some correction on, and whose result was rare in what people wrote before. So what a base model
never knew is no change (people wrote so from the beginning), nor is what a new champion does wrong (people write as
they always did). And people have to have given up what they wrote before: things that no picture showed before, which
the champion takes for others, get another word again and again, but the others keep theirs.

Where a habit begins is found by the likelihood ratio of two rates against one (Bernoulli), over the corrections in
which it was possible. Whether the former manner was given up is the same ratio over what people wrote, in all
corrections before that and all since.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from captionloop.model.captions.orthography import case_of
from captionloop.model.captions.text import is_word, split_tokens
from captionloop.model.database import Correction, Project, utc_now
from captionloop.model.dataset.corrections import teaching
from captionloop.model.dataset.styles import style_id_at
from captionloop.model.metrics.word_changes import are_comparable, nearest_reference, word_changes, words_of

Kind = Literal["word", "opening", "capitals", "end", "order", "length"]

_LATEST = 200  # corrections that are looked at
_SURE = 9.0  # nats that two rates have to explain more than one
_GIVEN_UP = 5.0  # the same of how often people write in the former manner
_FEWEST_BEFORE = 8  # corrections in which a habit was possible, before it began
_FEWEST_AFTER = 3
_RARE, _USUAL = 0.15, 0.6  # share of the corrections in which it was possible: before, and from its beginning on
_MORE = 10  # times that a change that was put off is made again before it is said again
_STILL = 15  # a habit that none of so many latest corrections shows is over
_MANY_WORDS = 3  # that a caption is longer or shorter
_ORDERED_WORDS = 4  # with fewer an order is no habit


@dataclass(frozen=True)
class Pair:
    """A correction: what was suggested and what the person wrote; `number` is the correction's."""

    number: int
    suggestion: str
    caption: str


@dataclass(frozen=True)
class Habit:
    """One way of correcting. `before` and `after` are words, or say what a caption is like."""

    kind: Kind
    before: str
    after: str

    def __str__(self) -> str:
        match self.kind:
            case "word":
                return f"{self.before!r} is written {self.after!r}"
            case "opening":
                return f"captions begin with {self.after!r} instead of {self.before!r}"
            case "capitals":
                return f"capitals are {self.after} instead of {self.before}"
            case "end":
                return f"captions end with {self.after or 'no mark'} instead of {self.before or 'no mark'}"
            case "order":
                return "the same words come in another order"
        return f"captions are {_MANY_WORDS} words {self.after} or more"


@dataclass(frozen=True)
class StyleChange:
    """A change of manner.

    Args:
        habit: what people do now.
        times, possible: how often they did it from the first time on, and could have.
        numbers: of the corrections that show it, since then.
        first: where it began.
        latest: the latest correction with it.
        evidence: nats that it explains.
    """

    habit: Habit
    times: int
    possible: int
    numbers: Sequence[int]
    first: Pair
    latest: Pair
    evidence: float

    def __str__(self) -> str:
        return f"{self.habit}, {self.times} of {self.possible} times"


def changes_of(session: Session, project_id: int) -> list[StyleChange]:
    """The changes in a project's latest corrections of its current style."""
    rows = session.execute(
        select(Correction.id, Correction.suggestion, Correction.captions)
        .where(
            *teaching(project_id),
            Correction.style_id.is_not_distinct_from(style_id_at(session, project_id, utc_now())),
            Correction.suggestion.is_not(None),
        )
        .order_by(Correction.annotated_at.desc(), Correction.id.desc())
        .limit(_LATEST)
    ).all()
    pairs = [
        Pair(number, suggestion, nearest_reference(suggestion, captions))
        for number, suggestion, captions in reversed(rows)
        if suggestion and captions
    ]
    return style_changes(pairs)


def news_of(session: Session, project_id: int) -> list[StyleChange]:
    """The changes, unless they were put off and nothing more came since."""
    found = changes_of(session, project_id)
    put_off = session.get_one(Project, project_id).style_changes_put_off
    is_new = (change.times >= put_off.get(str(change.habit), -_MORE) + _MORE for change in found)
    return found if any(is_new) else []


def put_off(session: Session, project_id: int) -> None:
    """Keep silent about the present changes until one has been made ten more times, or another one comes."""
    times = {str(change.habit): change.times for change in changes_of(session, project_id)}
    session.get_one(Project, project_id).style_changes_put_off = times


def style_changes(pairs: Sequence[Pair]) -> list[StyleChange]:
    """The changes in the latest corrections, those of most evidence first.

    Args:
        pairs: in the order in which people wrote them.
    """
    looked_at = [pair for pair in pairs[-_LATEST:] if are_comparable(pair.suggestion, pair.caption)]
    still = {pair.number for pair in looked_at[-_STILL:]}
    found = [
        change
        for habit in _habits_of(looked_at)
        if (change := _change(habit, looked_at)) is not None and change.latest.number in still
    ]
    # Words that change together show it sooner than each alone.
    words = [change for change in found if change.habit.kind == "word"]
    sure = words if _is_given_up(words, looked_at) else []
    found = [change for change in found if change in sure or _is_given_up([change], looked_at)]
    return sorted(found, key=lambda change: -change.evidence)


def _habits_of(pairs: Sequence[Pair]) -> list[Habit]:
    """Those that come often enough to be one."""
    counts = Counter(habit for pair in pairs for habit in _shown(pair.suggestion, pair.caption))
    return [habit for habit, count in counts.items() if count >= _FEWEST_AFTER]


def _change(habit: Habit, pairs: Sequence[Pair]) -> StyleChange | None:
    possible = [pair for pair in pairs if _is_possible(habit, pair)]
    shown = [habit in _shown(pair.suggestion, pair.caption) for pair in possible]
    evidence, begin = _beginning(shown)
    if evidence < _SURE:
        return None
    first = possible[begin]
    earlier = pairs[: pairs.index(first)]
    if sum(_is_result(habit, pair.caption) for pair in earlier) > _RARE * len(earlier):
        return None
    since = [pair for pair, is_shown in zip(possible[begin:], shown[begin:], strict=True) if is_shown]
    numbers = tuple(pair.number for pair in since)
    return StyleChange(habit, len(since), len(shown) - begin, numbers, first, since[-1], evidence)


def _beginning(shown: Sequence[bool]) -> tuple[float, int]:
    """The evidence for two rates, and where the second begins: 0 nats where there are none such."""
    best = 0.0, 0
    before, times = 0, sum(shown)
    for place, is_shown in enumerate(shown):
        after, left = times - before, len(shown) - place
        if (
            is_shown
            and place >= _FEWEST_BEFORE
            and after >= _FEWEST_AFTER
            and before <= _RARE * place
            and after >= _USUAL * left
        ):
            best = max(best, (_gained((before, place), (after, left)), place))
        before += is_shown
    return best


def _is_given_up(changes: Sequence[StyleChange], pairs: Sequence[Pair]) -> bool:
    """Whether people write less often as before any of these changes since the first of them began.

    Of order and length nobody can say how a caption was before.
    """
    if any(change.habit.kind in ("order", "length") for change in changes):
        return True
    as_before = [any(_is_as_before(change.habit, pair.caption) for change in changes) for pair in pairs]
    begin = min((pairs.index(change.first) for change in changes), default=len(pairs))
    before, after = sum(as_before[:begin]), sum(as_before[begin:])
    if after * begin >= before * (len(pairs) - begin):
        return False
    return _gained((before, begin), (after, len(pairs) - begin)) >= _GIVEN_UP


def _gained(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Nats by which two rates explain so many in so many, twice, better than one does."""
    (times, possible), (later, others) = before, after
    together = _log_likelihood(times + later, possible + others)
    return _log_likelihood(times, possible) + _log_likelihood(later, others) - together


def _log_likelihood(times: int, possible: int) -> float:
    """Of so many in so many at their own rate."""
    return sum(count * math.log(count / possible) for count in (times, possible - times) if count)


@lru_cache(maxsize=4096)
def _shown(suggestion: str, caption: str) -> frozenset[Habit]:
    """The habits that a correction shows."""
    return frozenset(_found(suggestion, caption))


def _found(suggestion: str, caption: str) -> Iterator[Habit]:
    before, after = words_of(suggestion), words_of(caption)
    if before and after and before[0] != after[0]:
        yield Habit("opening", before[0], after[0])
    for kind, read in _LOOKS.items():
        if (was := read(suggestion)) != (now := read(caption)) and before and after:
            yield Habit(kind, was, now)
    if before != after and len(before) >= _ORDERED_WORDS and Counter(before) == Counter(after):
        yield Habit("order", "", "")
    if abs(len(after) - len(before)) >= _MANY_WORDS:
        yield Habit("length", "", "longer" if len(after) > len(before) else "shorter")
    for old, new in _exchanged(suggestion, caption):
        if (old, new) != (before[0], after[0]):  # that is an opening
            yield Habit("word", old, new)


def _exchanged(suggestion: str, caption: str) -> Iterator[tuple[str, str]]:
    """Words that stand where others stood, where as many were written as removed."""
    changes = word_changes(suggestion, caption)
    for one, other in pairwise(changes):
        if (one.kind, other.kind) == ("removed", "added"):
            old, new = words_of(one.text), words_of(other.text)
            if len(old) == len(new):
                yield from ((a, b) for a, b in zip(old, new, strict=True) if a != b)


def _capitals(caption: str) -> str:
    return _CASES[case_of(split_tokens(caption))]


def _end(caption: str) -> str:
    tokens = split_tokens(caption)
    return tokens[-1] if tokens and not is_word(tokens[-1]) else ""


_CASES = {
    "plain": "none", "sentence": "those of a sentence", "title": "those of a title", "upper": "everywhere"
}  # fmt: skip
_LOOKS: dict[Kind, Callable[[str], str]] = {"capitals": _capitals, "end": _end}


@lru_cache(maxsize=4096)
def _words(caption: str) -> frozenset[str]:
    return frozenset(words_of(caption))


def _is_possible(habit: Habit, pair: Pair) -> bool:
    """Whether the habit could show: the suggestion is such, or people wrote as before it of their own accord.

    The latter tells of the time of an earlier champion, which did not write as people do.
    """
    if _is_like(habit.kind, habit.before, pair.suggestion, otherwise=True):
        return True
    return _is_like(habit.kind, habit.before, pair.caption, otherwise=False)


def _is_as_before(habit: Habit, caption: str) -> bool:
    """Whether a caption is as people wrote before the habit."""
    return _is_like(habit.kind, habit.before, caption, otherwise=False)


def _is_result(habit: Habit, caption: str) -> bool:
    """Whether a caption is as the habit makes it; of an order or a length its suggestion alone could tell."""
    return _is_like(habit.kind, habit.after, caption, otherwise=False)


def _is_like(kind: Kind, what: str, text: str, *, otherwise: bool) -> bool:
    """Whether a text has what a habit of this kind is about; `otherwise` for kinds that are about two texts."""
    match kind:
        case "word":
            return what in _words(text)
        case "opening":
            return words_of(text)[:1] == [what]
        case "capitals" | "end":
            return _LOOKS[kind](text) == what
    return otherwise
