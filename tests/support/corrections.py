"""Corrections inserted directly into the database."""

import itertools
from datetime import datetime
from typing import Any

from captionloop.model.database import CorrectionState, Database, Project, Suggestion, utc_now
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import CorrectionRecord

_NUMBERS = itertools.count(1000)


def correct(
    database: Database,
    project: Project,
    *,
    suggestion: str = "a red square",
    caption: str = "a red square",
    version: str,
    at: datetime | None = None,
    state: CorrectionState = CorrectionState.ACTIVE,
    **fields: Any,
) -> int:
    """A suggestion of a version and what somebody submitted in its place; the task's number."""
    task, moment = next(_NUMBERS), at or utc_now()
    with database.session() as session:
        session.add(
            Suggestion(
                project_id=project.id, task_id=task, model_version=version, caption=suggestion, score=0.5,
                created_at=moment,
            )
        )  # fmt: skip
        record = CorrectionRecord(
            annotation_id=task, task_id=task, state=state, captions=[caption], annotated_at=moment, updated_at=moment,
            suggestion=suggestion, suggestion_version=version, suggestion_score=0.5, **fields,
        )  # fmt: skip
        corrections.upsert(session, project.id, record)
    return task
