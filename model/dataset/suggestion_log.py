"""The log of suggestions: the caption of each task by each version, or the reason why there is none."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from captionloop.batches import batches
from captionloop.model.database import Database, utc_now
from captionloop.model.database import Suggestion as Row

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import ScoredCaption

# Rows in a statement: SQLite allows 32,766 values in one, PostgreSQL 65,535; and others can write between two.
_AT_ONCE = 500
# Both dialects know INSERT … ON CONFLICT, each under its own name in SQLAlchemy.
_INSERT: Mapping[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True)
class Answer:
    """The result for one task: a suggestion, or the reason why there is none.

    Args:
        may_pass: whether the reason is temporary.
        in_boxes: what is suggested in other text boxes, by their names. It is not logged.
    """

    task_id: int
    suggestion: "ScoredCaption | None"
    reason: str | None = None
    may_pass: bool = False
    in_boxes: Mapping[str, str] = field(default_factory=dict)


class SuggestionLog:
    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, project_id: int, version: str, answers: Sequence[Answer], *, style: str | None = None) -> None:
        """Store answers, replacing earlier ones for the same task and version.

        Args:
            style: that the captions are written in; None is the one without a name.
        """
        rows = {answer.task_id: _row(project_id, version, answer, style) for answer in answers}
        in_order = [row for _, row in sorted(rows.items())]  # a common order prevents deadlocks
        for batch in batches(in_order, _AT_ONCE):
            statement = _INSERT[self._database.engine.dialect.name](Row).values(batch)
            newer = {name: statement.excluded[name] for name in ("caption", "score", "reason", "style", "created_at")}
            with self._database.session() as session:
                session.execute(
                    statement.on_conflict_do_update(
                        index_elements=["project_id", "task_id", "model_version"], set_=newer
                    )
                )

    def scores(self, project_id: int, version: str, task_ids: Collection[int]) -> dict[int, float]:
        """The known scores of a version's suggestions for these tasks, by task."""
        wanted = set(task_ids)
        rows = select(Row.task_id, Row.score).where(Row.project_id == project_id, Row.model_version == version)
        with self._database.reading() as session:
            return {
                task_id: score for task_id, score in session.execute(rows) if score is not None and task_id in wanted
            }

    def captions(self, project_id: int, version: str, style: str | None) -> dict[int, str]:
        """A version's latest captions that are in this style, by task."""
        rows = select(Row.task_id, Row.caption).where(
            Row.project_id == project_id,
            Row.model_version == version,
            Row.style.is_not_distinct_from(style),
        )
        with self._database.reading() as session:
            return {task_id: caption for task_id, caption in session.execute(rows) if caption is not None}

    def count(self, project_id: int) -> int:
        """The number of captions suggested in a project, by all its versions."""
        with self._database.reading() as session:
            return (
                session.scalar(select(func.count()).where(Row.project_id == project_id, Row.caption.is_not(None))) or 0
            )


def _row(project_id: int, version: str, answer: Answer, style: str | None) -> Mapping[str, Any]:
    return {
        "project_id": project_id,
        "task_id": answer.task_id,
        "model_version": version,
        "caption": answer.suggestion.caption if answer.suggestion else None,
        "score": answer.suggestion.score if answer.suggestion else None,
        "reason": answer.reason,
        "style": style,
        "created_at": utc_now(),
    }
