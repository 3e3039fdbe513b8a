"""Whether an automatic fine-tuning run is due, and why."""

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from captionloop.model.active_learning.project_settings import ProjectSettings
from captionloop.model.database import Correction, CorrectionState, Project, Run, RunKind
from captionloop.model.dataset.corrections import teaching
from captionloop.model.dataset.styles import current_style_id

# A daily run begins this late at most: a worker that starts in the afternoon should not catch up with the night.
_LATE_BY = timedelta(hours=1)


def reason_to_train(session: Session, project: Project, settings: ProjectSettings, *, now: datetime) -> str | None:
    """Why a run should start now, as a sentence for people; None: it should not.

    New corrections are those made or changed since the last requested run, whatever its outcome: a failed run is not
    repeated until there are further corrections.

    Args:
        now: with the time zone that `train_at` is meant in where the settings name none.
    """
    asked = session.scalar(
        select(func.max(Run.created_at)).where(Run.project_id == project.id, Run.kind == RunKind.FINETUNE)
    )
    new = _count_new(session, project, asked)
    if settings.train_after is not None and new >= settings.train_after:
        return f"{new} new corrections since the last run" if asked else f"{new} corrections"
    if settings.train_below is not None and new >= settings.train_window:
        share = _share_unchanged(session, project, settings.train_window)
        if share is not None and share < settings.train_below:
            return (
                f"{share:.0%} of the last {settings.train_window} captions of {project.champion} were kept unchanged, "
                f"less than {settings.train_below:.0%}"
            )
    if settings.daily_time is not None and new:
        now = now.astimezone(settings.zone) if settings.zone else now
        due = now.replace(hour=settings.daily_time.hour, minute=settings.daily_time.minute, second=0, microsecond=0)
        if due <= now < due + _LATE_BY and (asked is None or asked < due):
            return (
                f"it is {settings.train_at} ({settings.time_zone or now.tzname()}), and there are {new} new corrections"
            )
    return None


def _count_new(session: Session, project: Project, asked: datetime | None) -> int:
    new = teaching(project.id) if asked is None else [*teaching(project.id), Correction.updated_at > asked]
    return session.scalar(select(func.count()).select_from(Correction).where(*new)) or 0


def _share_unchanged(session: Session, project: Project, window: int) -> float | None:
    """Unchanged share of the last `window` corrections of the champion's suggestions, in the project's current style.

    None if there are fewer: what people wrote in another style says nothing of how this one is suggested.
    """
    last = session.scalars(
        select(Correction.words_changed)
        .where(
            Correction.project_id == project.id,
            Correction.state == CorrectionState.ACTIVE,
            Correction.suggestion_version == project.champion,
            Correction.words_changed.is_not(None),
            Correction.style_id.is_not_distinct_from(current_style_id(session, project.id)),
        )
        .order_by(Correction.annotated_at.desc(), Correction.id.desc())
        .limit(window)
    ).all()
    return None if len(last) < window else sum(changed == 0 for changed in last) / window
