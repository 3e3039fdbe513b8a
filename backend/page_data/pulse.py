"""What an open page has to be fetched anew for: other runs, another champion, other corrections."""

import hashlib

from sqlalchemy import func, select

from captionloop.backend.page_data.room import Room
from captionloop.model.database import Correction, Project, Style


def read_pulse(room: Room, project: Project) -> str:
    """A short text that changes with a project: when runs begin or end, at promotions, with synced corrections and
    changes of styles.

    Not with a run's progress, which has a stream of its own (`backend.pages.live`).
    """
    over = [(run.id, run.state.value) for run in room.runs.over(project.id, limit=1)]
    unfinished = [run.id for run in room.runs.unfinished(project.id)]
    with room.database.reading() as session:
        champion = session.get_one(Project, project.id).champion
        changes = select(func.count(), func.max(Correction.updated_at), func.max(Correction.reviewed_at))
        styles = session.execute(select(Style.name, Style.ended_at).where(Style.project_id == project.id)).all()
        corrections = tuple(session.execute(changes.where(Correction.project_id == project.id)).one())
    return hashlib.sha256(repr((over, unfinished, champion, styles, corrections)).encode()).hexdigest()[:16]
