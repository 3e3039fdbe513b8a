"""Blind verdicts: which of two versions' captions of a picture a person prefers, without knowing their versions."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from captionloop.model.captions.text import normalise_caption
from captionloop.model.database import Better, Choice, Project, utc_now
from captionloop.model.evaluation.comparison_file import ComparedImage
from captionloop.model.metrics.estimate import Estimate, wilson

# At most. Fifty give the win rate within about 14 points either way; nobody judges hundreds.
MOST_ASKED = 50


@dataclass(frozen=True)
class Tally:
    """The result of blind verdicts.

    Args:
        first, second: number of pictures for which that version's caption was preferred.
        same: number without a preference.
        win_rate: share of the second among the decided ones, with Wilson's 95 % interval; None if none is decided.
    """

    first: int
    second: int
    same: int
    win_rate: Estimate | None

    @property
    def judged(self) -> int:
        return self.first + self.second + self.same


def to_ask(images: Sequence[ComparedImage], first: str, second: str) -> list[ComparedImage]:
    """A random sample of at most `MOST_ASKED` pictures with different captions.

    It is the same, in the same order, for everybody and at any time.
    """

    def place(image: ComparedImage) -> bytes:
        return hashlib.sha256(f"{first} {second} {image.image}".encode()).digest()

    differing = [image for image in images if not _says_the_same(image)]
    return sorted(differing, key=place)[:MOST_ASKED]


def say_the_same(images: Sequence[ComparedImage]) -> int:
    """How many pictures have the same caption by both versions, and so need no verdict."""
    return sum(_says_the_same(image) for image in images)


def keep_choice(
    session: Session, project_id: int, first: str, second: str, image: str, *, better: Better, by: str
) -> None:
    """Store a person's verdict, replacing an earlier one on the same picture."""
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update())  # two clicks at once
    known = session.scalars(
        select(Choice).where(
            Choice.project_id == project_id,
            Choice.first == first,
            Choice.second == second,
            Choice.image_sha256 == image,
            Choice.by == by,
        )
    ).one_or_none()
    if known is None:
        known = Choice(project_id=project_id, first=first, second=second, image_sha256=image, by=by)
        session.add(known)
    known.better, known.at = better, utc_now()


def choices_of(session: Session, project_id: int, first: str, second: str, *, by: str) -> dict[str, Better]:
    """A person's verdicts on two versions, oldest first: image hash → which is better."""
    rows = session.execute(
        select(Choice.image_sha256, Choice.better)
        .where(Choice.project_id == project_id, Choice.first == first, Choice.second == second, Choice.by == by)
        .order_by(Choice.at, Choice.id)
    )
    return dict(rows.all())


def tally(
    session: Session, project_id: int, first: str, second: str, images: Collection[str], *, by: str | None = None
) -> Tally:
    """Count the verdicts on these images: of one person, or of all."""
    counted = select(Choice.better, func.count()).where(
        Choice.project_id == project_id,
        Choice.first == first,
        Choice.second == second,
        Choice.image_sha256.in_(images),
    )
    rows = session.execute((counted if by is None else counted.where(Choice.by == by)).group_by(Choice.better))
    found = dict(rows.all())
    wins, losses = found.get(Better.SECOND, 0), found.get(Better.FIRST, 0)
    return Tally(
        first=losses,
        second=wins,
        same=found.get(Better.SAME, 0),
        win_rate=wilson(wins, wins + losses) if wins + losses else None,
    )


def _says_the_same(image: ComparedImage) -> bool:
    return normalise_caption(image.champion.caption) == normalise_caption(image.candidate.caption)
