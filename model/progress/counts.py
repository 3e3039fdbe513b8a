"""Fast counts of projects, corrections and runs, for monitoring."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from captionloop.model.database import Correction, CorrectionState, Project, Run, RunKind, RunState


@dataclass(frozen=True)
class CorrectionCount:
    """How many corrections of a project are in a state."""

    project_id: int
    state: CorrectionState
    count: int


@dataclass(frozen=True)
class RunCount:
    """How many runs of a kind are in a state in a project."""

    project_id: int
    kind: RunKind
    state: RunState
    count: int


@dataclass(frozen=True)
class Counts:
    """The connected projects, and the counts in each; zero counts are absent."""

    projects: Sequence[Project]
    corrections: Sequence[CorrectionCount]
    runs: Sequence[RunCount]
    running: Sequence[Run]


def count_all(session: Session, server: str) -> Counts:
    """The counts of the projects of one Label Studio server."""
    projects = session.scalars(
        select(Project).where(Project.server == server, Project.is_connected).order_by(Project.id)
    ).all()
    ids = [project.id for project in projects]
    # The index `correction_by_state` covers this query.
    corrections = session.execute(
        select(Correction.project_id, Correction.state, func.count())
        .where(Correction.project_id.in_(ids))
        .group_by(Correction.project_id, Correction.state)
    )
    runs = session.execute(
        select(Run.project_id, Run.kind, Run.state, func.count())
        .where(Run.project_id.in_(ids))
        .group_by(Run.project_id, Run.kind, Run.state)
    )
    return Counts(
        projects=projects,
        corrections=[CorrectionCount(*row) for row in corrections],
        runs=[RunCount(*row) for row in runs],
        running=session.scalars(select(Run).where(Run.project_id.in_(ids), Run.state == RunState.RUNNING)).all(),
    )
