"""Blind verdicts: which of two versions' captions of a picture a person finds better, not knowing which is whose."""

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

# Asked of a person at the most. Fifty give the win rate to about 14 points either way; nobody judges hundreds.
MOST_ASKED = 50


@dataclass(frozen=True)
class Tally:
    """What the verdicts come to.

    Args:
        first, second: pictures for which that version's caption was found better.
        same: those for which neither was.
        win_rate: share of the second among the decided ones, with Wilson's 95 % interval; None when all are the same.
    """

    first: int
    second: int
    same: int
    win_rate: Estimate | None

    @property
    def judged(self) -> int:
        return self.first + self.second + self.same


def to_ask(images: Sequence[ComparedImage], first: str, second: str) -> list[ComparedImage]:
    """The pictures that people are asked about: with two different captions, at most `MOST_ASKED`, drawn at random.

    Everybody gets the same ones in the same order, whenever they come back.
    """

    def place(image: ComparedImage) -> bytes:
        return hashlib.sha256(f"{first} {second} {image.image}".encode()).digest()

    differing = [image for image in images if not _says_the_same(image)]
    return sorted(differing, key=place)[:MOST_ASKED]


def say_the_same(images: Sequence[ComparedImage]) -> int:
    """How many pictures have the same caption of both, and so are not asked about."""
    return sum(_says_the_same(image) for image in images)


def keep_choice(
    session: Session, project_id: int, first: str, second: str, image: str, *, better: Better, by: str
) -> None:
    """Keep a person's verdict; an earlier one about the same picture is replaced."""
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
    """A person's verdicts about two versions, the last one last: image hash → which is better."""
    rows = session.execute(
        select(Choice.image_sha256, Choice.better)
        .where(Choice.project_id == project_id, Choice.first == first, Choice.second == second, Choice.by == by)
        .order_by(Choice.at, Choice.id)
    )
    return dict(rows.all())


def tally(
    session: Session, project_id: int, first: str, second: str, images: Collection[str], *, by: str | None = None
) -> Tally:
    """Count the verdicts about these images: of one person, or of all."""
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
