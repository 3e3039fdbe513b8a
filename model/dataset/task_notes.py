"""What annotators say about tasks, one note per task and person."""

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from captionloop.model.database import TaskNote, utc_now

MOST_SHOWN = 50


def note_of(session: Session, project_id: int, task_id: int, by: str) -> str:
    """A person's note; "" without one."""
    found = _row(session, project_id, task_id, by)
    return found.text if found else ""


def newest_notes(session: Session, project_id: int) -> Sequence[TaskNote]:
    """The newest notes and unclear tasks of a project, the newest first."""
    says_something = or_(TaskNote.text != "", TaskNote.is_unclear)
    rows = select(TaskNote).where(TaskNote.project_id == project_id, says_something)
    return session.scalars(rows.order_by(TaskNote.at.desc(), TaskNote.id.desc()).limit(MOST_SHOWN)).all()


def keep_note(
    session: Session, project_id: int, task_id: int, by: str, *, text: str | None = None, is_unclear: bool | None = None
) -> None:
    """Store a note, in place of an earlier one by the same person; None leaves that part as it is."""
    row = _row(session, project_id, task_id, by)
    if row is None:
        row = TaskNote(project_id=project_id, task_id=task_id, by=by, text="", is_unclear=False)
        session.add(row)
    row.text = row.text if text is None else text
    row.is_unclear = row.is_unclear if is_unclear is None else is_unclear
    row.at = utc_now()


def _row(session: Session, project_id: int, task_id: int, by: str) -> TaskNote | None:
    return session.scalar(
        select(TaskNote).where(TaskNote.project_id == project_id, TaskNote.task_id == task_id, TaskNote.by == by)
    )
