"""The styles of a project, as pages show them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from captionloop.model.database import Correction, Project
from captionloop.model.dataset.corrections import teaching
from captionloop.model.dataset.styles import StyleInfo, moment_of, styles_of
from captionloop.model.metrics.word_changes import WordChange, nearest_reference, word_changes
from captionloop.model.progress.style_changes import StyleChange, news_of
from captionloop.model.versions.store import VersionInfo


@dataclass(frozen=True)
class Styles:
    """The styles of a project that has one with a name, or whose champion has.

    Args:
        all: the one without a name first.
        champion: the version that serves.
        written: the style that its suggestions are in.
        known: the styles that it was taught, by name.
    """

    all: Sequence[StyleInfo]
    champion: str
    written: str | None
    known: frozenset[str | None]

    @property
    def current(self) -> StyleInfo:
        """New corrections belong to it."""
        return next(style for style in self.all if style.is_current and style.control is None)

    @property
    def is_followed(self) -> bool:
        """Whether suggestions are in the current style."""
        return self.written == self.current.name


def read_styles(session: Session, project_id: int, champion: VersionInfo) -> Styles | None:
    """None: there is one style only, which has no name."""
    found = read_all_styles(session, project_id, champion)
    return found if len(found.all) > 1 or len(found.known) > 1 else None


def read_all_styles(session: Session, project_id: int, champion: VersionInfo) -> Styles:
    found, generation = styles_of(session, project_id), champion.generation
    current = next(style.name for style in found if style.is_current and style.control is None)
    return Styles(found, champion.version, generation.written_in(current), frozenset([None, *generation.styles]))


@dataclass(frozen=True)
class StyleNews:
    """What people write otherwise than before.

    Args:
        changes: those of most evidence first.
        examples: the correction with each in which least else was changed, in words that were removed and added.
        first: the number of the correction with which they begin.
        since: when it was made.
        corrections: numbers of those that show any of them.
        annotator: who made all of them, if others corrected meanwhile; None also if individuals are not shown.
        name: a proposal for the style.
    """

    changes: Sequence[StyleChange]
    examples: Sequence[Sequence[WordChange]]
    first: int
    since: datetime
    corrections: Sequence[int]
    annotator: str | None
    name: str


def read_style_news(session: Session, project: Project) -> StyleNews | None:
    """None: people write as before, or that was put off."""
    changes = news_of(session, project.id)
    if not changes:
        return None
    first = min(change.first.number for change in changes)
    since = moment_of(session, project.id, first)
    numbers = sorted({number for change in changes for number in change.numbers})
    taken = {style.name for style in styles_of(session, project.id)}
    return StyleNews(
        changes=changes,
        examples=[_example(session, change) for change in changes],
        first=first,
        since=since,
        corrections=numbers,
        annotator=_only_annotator(session, project, numbers, since) if project.shows_annotators else None,
        name=next(name for name in _names(since) if name not in taken),
    )


def _example(session: Session, change: StyleChange) -> Sequence[WordChange]:
    plainest = (
        select(Correction.suggestion, Correction.captions)
        .where(Correction.id.in_(change.numbers))
        .order_by(Correction.words_changed, Correction.id.desc())
        .limit(1)
    )
    suggestion, captions = session.execute(plainest).one()
    return word_changes(suggestion or "", nearest_reference(suggestion or "", captions))


def _names(since: datetime) -> Iterator[str]:
    name = f"from {since:%Y-%m-%d}"
    yield name
    yield from (f"{name} ({number})" for number in count(2))


def _only_annotator(session: Session, project: Project, numbers: Sequence[int], since: datetime) -> str | None:
    def annotators(*which: ColumnElement[bool]) -> set[str | None]:
        named = Correction.annotator.is_not(None)
        return set(session.scalars(select(Correction.annotator).where(named, *which).distinct()))

    theirs = annotators(Correction.id.in_(numbers))
    everybody = annotators(*teaching(project.id), Correction.annotated_at >= since)
    return next(iter(theirs)) if len(theirs) == 1 and len(everybody) > 1 else None
