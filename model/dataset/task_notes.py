"""What annotators say about tasks, one note per task and person."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from captionloop.model.database import TaskNote, utc_now


def note_of(session: Session, project_id: int, task_id: int, by: str) -> str:
    """A person's note; "" without one."""
    found = _row(session, project_id, task_id, by)
    return found.text if found else ""


def notes_of_task(session: Session, project_id: int, task_id: int) -> Sequence[TaskNote]:
    """All that say something, the oldest first."""
    rows = session.scalars(
        select(TaskNote)
        .where(TaskNote.project_id == project_id, TaskNote.task_id == task_id)
        .order_by(TaskNote.at, TaskNote.id)
    )
    return [row for row in rows if row.text or row.is_unclear]


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
