"""How fast people caption, and when they will be done."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from captionloop.model.database import Correction, CorrectionState
from captionloop.model.dataset.corrections import PRESENT

_DAYS = 7
_FARTHEST_DAYS = 3650  # a date beyond ten years says nothing


@dataclass(frozen=True)
class Pace:
    """Captions that people submitted lately.

    Args:
        count: of the last `days` days.
        days: seven, or the days since the first caption, at least one.
    """

    count: int
    days: float

    @property
    def per_day(self) -> float:
        return self.count / self.days

    def done_on(self, left: int, *, today: date) -> date | None:
        """The day on which as many as are left are captioned, at this pace; None if it cannot be told."""
        days = left / self.per_day if self.count else float("inf")
        return today + timedelta(days=round(days)) if days <= _FARTHEST_DAYS else None


def pace(session: Session, project_id: int, *, now: datetime) -> Pace:
    """The pace of a project, by its annotations; imported captions are nobody's work here."""
    own = [
        Correction.project_id == project_id, Correction.task_id.is_not(None), Correction.state.in_(PRESENT),
        Correction.annotated_at <= now,
    ]  # fmt: skip
    first = session.scalar(select(func.min(Correction.annotated_at)).where(*own))
    if first is None:
        return Pace(0, 1.0)
    begin = max(first, now - timedelta(days=_DAYS))
    count = session.scalar(select(func.count()).where(*own, Correction.annotated_at >= begin)) or 0
    return Pace(count, max((now - begin) / timedelta(days=1), 1.0))


def skipped_tasks(session: Session, project_id: int) -> int:
    """How many tasks somebody skipped and nobody captioned."""
    of_tasks = select(Correction.task_id).where(Correction.project_id == project_id, Correction.task_id.is_not(None))
    captioned = of_tasks.where(Correction.state == CorrectionState.ACTIVE)
    skipped = of_tasks.where(Correction.state == CorrectionState.SKIPPED).except_(captioned).subquery()
    return session.scalar(select(func.count()).select_from(skipped)) or 0
