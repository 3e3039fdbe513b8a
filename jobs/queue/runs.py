"""Runs and their states. The database is the truth; Redis only carries their ids.

    WAITING ──▶ QUEUED ──▶ RUNNING ──▶ FINISHED | FAILED | CANCELLED
    (behind a    (in Redis)     │
     running one)    ▲──────────┘  its worker was killed: once more, `MAX_ATTEMPTS` times at most;
                                   or was ended, and left it: once more

Each attempt at a run has a fencing token (`attempt`), so that one that was taken for dead and continues does no harm.

Unique indexes allow a project at most one run of a kind in each of the first three states.
"""

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from captionloop.errors import NotFoundError
from captionloop.jobs.queue.annotate_settings import AnnotateSettings
from captionloop.jobs.queue.attempt import WORKER_OF_RUN, Attempt
from captionloop.jobs.queue.last_look import LastLook
from captionloop.jobs.queue.presence import process_id
from captionloop.model.database import Database, Project, Run, RunKind, RunState, database_time, utc_now

# A running run without a heartbeat for this long was killed. Heartbeats come every `HEARTBEAT_S`.
DEAD_AFTER_S = 60
HEARTBEAT_S = 10
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Requested:
    """The result of a request for a run."""

    run: Run
    is_new: bool  # False: the request was folded into a run that has not begun yet

    @property
    def must_be_sent(self) -> bool:
        return self.is_new and self.run.state is RunState.QUEUED

    @property
    def outcome(self) -> str:
        """What happens with the request, for people."""
        if not self.is_new:
            return "A run that has not begun yet takes this request, with these settings."
        if self.run.state is RunState.WAITING:
            return "The run waits until the one before it is over."
        return "The run is queued and begins as soon as the worker is free."


class Runs:
    """All changes of runs' states, except those by the attempt itself."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last_look = LastLook()

    def request(
        self, project_id: int, kind: RunKind, *, asked_by: str, settings: Mapping[str, Any] | None = None
    ) -> Requested:
        """Request a run. If one has not started yet, the request is merged into it, with the newer settings.

        A comparison makes the pairs of both requests; a captioning run gets settings that satisfy both.
        """
        with self._database.session() as session:
            _lock(session, project_id)
            pending = _one(session, project_id, kind, RunState.WAITING, RunState.QUEUED, lock=True)
            if pending is not None:
                pending.settings = _folded(kind, pending.settings, settings or {})
                return Requested(pending, is_new=False)
            busy = _one(session, project_id, kind, RunState.RUNNING) is not None
            state = RunState.WAITING if busy else RunState.QUEUED
            return Requested(_add(session, project_id, kind, state, asked_by, settings or {}), is_new=True)

    def request_if_idle(self, project_id: int, kind: RunKind, *, asked_by: str) -> Run | None:
        """Request a run, unless one of this kind is active or waiting; None then."""
        with self._database.session() as session:
            _lock(session, project_id)
            if _one(session, project_id, kind, RunState.WAITING, RunState.QUEUED, RunState.RUNNING) is not None:
                return None
            return _add(session, project_id, kind, RunState.QUEUED, asked_by, {})

    def start(self, run_id: str) -> Attempt | None:
        """Take a queued run for this worker; None if there is nothing to do (cancelled, or taken already).

        Earlier attempts lose the run.
        """
        with self._database.session() as session:
            run = session.get(Run, run_id, with_for_update=True)
            if run is None or run.state is not RunState.QUEUED:
                return None
            if _one(session, run.project_id, run.kind, RunState.RUNNING) is not None:
                run.state = RunState.WAITING
                return None
            run.state, run.attempts, run.fence = RunState.RUNNING, run.attempts + 1, run.fence + 1
            run.started_at, run.heartbeat_at = utc_now(), database_time(session)
            worker = process_id(os.getppid())  # a job is a child of its worker
            run.progress, run.detail, run.message = 0.0, {WORKER_OF_RUN: worker}, ""
            return Attempt(self._database, run, run.fence)

    def attempt(self, run_id: str, number: int) -> Attempt:
        """The attempt of another process, for a process that works for it."""
        with self._database.reading() as session:
            return Attempt(self._database, session.get_one(Run, run_id), number)

    def cancel(self, run_id: str) -> Run:
        """Cancel a run: at once if it has not started, else at its worker's next check.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.session() as session:
            run = session.get(Run, run_id, with_for_update=True)
            if run is None:
                raise NotFoundError(f"There is no run {run_id!r}.")
            if run.state is RunState.RUNNING:
                run.cancel_requested = True
            elif not run.state.is_over:
                run.state, run.message, run.finished_at = RunState.CANCELLED, "Cancelled before it began.", utc_now()
            return run

    def advance(self) -> list[Run]:
        """Requeue or fail dead runs, and queue waiting ones that can start; returns the runs that must be in Redis."""
        with self._database.session() as session:
            running = session.scalars(_locked(RunState.RUNNING)).all()
            now = database_time(session)
            was_away = self._last_look.was_long_ago(now)
            for run in running:
                if run.heartbeat_at is None or now - run.heartbeat_at > timedelta(seconds=DEAD_AFTER_S):
                    if not was_away:
                        _after_death(session, run)
                elif run.heartbeat_at > now:  # the clock was put back: from now on the silence counts
                    run.heartbeat_at = now
            session.flush()
            for run in session.scalars(_locked(RunState.WAITING)):
                if _one(session, run.project_id, run.kind, RunState.QUEUED, RunState.RUNNING) is None:
                    run.state = RunState.QUEUED
                    session.flush()
            return list(session.scalars(select(Run).where(Run.state == RunState.QUEUED).order_by(Run.created_at)))

    def hand_back(self, run_id: str, number: int) -> Run | None:
        """Queue a run again that its worker has left on purpose, which does not count as an attempt.

        Args:
            number: of the attempt that was left.

        Returns:
            The run, which must be sent; None if it has ended (also by a pending cancellation), or belongs to another
            worker.
        """
        with self._database.session() as session:
            run = session.get(Run, run_id, with_for_update=True)
            if run is None or run.state is not RunState.RUNNING or run.fence != number:
                return None
            if run.cancel_requested:
                run.state, run.message, run.finished_at = RunState.CANCELLED, "Cancelled.", utc_now()
                return None
            run.state, run.attempts = RunState.QUEUED, run.attempts - 1
            return run

    def get(self, run_id: str) -> Run | None:
        with self._database.reading() as session:
            return session.get(Run, run_id)

    def current(self, project_id: int) -> Run | None:
        """The run to display for a project: the running one, else the next one, else the last one; None before any."""
        with self._database.reading() as session:
            runs = session.scalars(
                select(Run).where(Run.project_id == project_id).order_by(Run.created_at.desc()).limit(20)
            ).all()
        by_interest = {RunState.RUNNING: 0, RunState.QUEUED: 1, RunState.WAITING: 2}
        return min(runs, key=lambda run: by_interest.get(run.state, 3), default=None)

    def latest(self, project_id: int, kind: RunKind, *, count: int) -> Sequence[Run]:
        """The newest runs of a kind in a project, newest first."""
        with self._database.reading() as session:
            return session.scalars(
                select(Run)
                .where(Run.project_id == project_id, Run.kind == kind)
                .order_by(Run.created_at.desc())
                .limit(count)
            ).all()

    def unfinished(self, project_id: int) -> Sequence[Run]:
        """A project's unfinished runs: running, then queued, then waiting."""
        order = [RunState.RUNNING, RunState.QUEUED, RunState.WAITING]
        with self._database.reading() as session:
            runs = session.scalars(select(Run).where(Run.project_id == project_id, Run.state.in_(order))).all()
        return sorted(runs, key=lambda run: (order.index(run.state), run.created_at))

    def over(
        self, project_id: int, *, state: RunState | None = None, limit: int | None = None, offset: int = 0
    ) -> Sequence[Run]:
        """A project's finished runs, newest first.

        Args:
            state: only those with this outcome.
            limit, offset: the part of the list; all without a limit.
        """
        chosen = select(Run).where(Run.project_id == project_id, Run.state.in_(_over(state)))
        with self._database.reading() as session:
            newest_first = chosen.order_by(Run.created_at.desc(), Run.id)
            return session.scalars(newest_first.limit(limit).offset(offset)).all()

    def count_over(self, project_id: int, *, state: RunState | None = None) -> int:
        """The number of runs that `over` lists without a limit."""
        with self._database.reading() as session:
            counted = select(func.count()).select_from(Run).where(Run.project_id == project_id)
            return session.scalar(counted.where(Run.state.in_(_over(state)))) or 0

    def active(self) -> Sequence[Run]:
        """All unfinished runs of all projects."""
        with self._database.reading() as session:
            states = [RunState.WAITING, RunState.QUEUED, RunState.RUNNING]
            return session.scalars(select(Run).where(Run.state.in_(states)).order_by(Run.created_at)).all()


def _over(state: RunState | None) -> list[RunState]:
    return [state] if state else [state for state in RunState if state.is_over]


def _lock(session: Session, project_id: int) -> None:
    """Serialise requests for a project (SQLite's write lock does so already)."""
    if session.get(Project, project_id, with_for_update=True) is None:
        raise NotFoundError(f"There is no project with the number {project_id} in the database.")


def _one(session: Session, project_id: int, kind: RunKind, *states: RunState, lock: bool = False) -> Run | None:
    """The oldest run in one of these states, with `lock` locked until the transaction ends."""
    found = select(Run).where(Run.project_id == project_id, Run.kind == kind, Run.state.in_(states))
    found = found.order_by(Run.created_at).limit(1)
    return session.scalars(found.with_for_update() if lock else found).one_or_none()


def _locked(state: RunState) -> Select[Any]:
    """All runs in a state, locked until the transaction ends, since several processes do this at once."""
    return select(Run).where(Run.state == state).order_by(Run.id).with_for_update()


def _add(
    session: Session, project_id: int, kind: RunKind, state: RunState, asked_by: str, settings: Mapping[str, Any]
) -> Run:
    run = Run(
        id=uuid.uuid4().hex, project_id=project_id, kind=kind, state=state, asked_by=asked_by, settings=dict(settings)
    )
    session.add(run)
    return run


def _folded(kind: RunKind, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run after another request is merged into it."""
    if kind is RunKind.COMPARE:
        pairs = [*before["pairs"], *wanted["pairs"]]
        return {"pairs": [pair for place, pair in enumerate(pairs) if pair not in pairs[:place]]}
    if kind is RunKind.ANNOTATE:
        return AnnotateSettings.from_dict(before).joined(AnnotateSettings.from_dict(wanted)).to_dict()
    return dict(wanted)


def _after_death(session: Session, run: Run) -> None:
    waiting_elsewhere = _one(session, run.project_id, run.kind, RunState.QUEUED)
    if run.cancel_requested:
        run.state, run.message = RunState.CANCELLED, "Cancelled."
    elif run.attempts >= MAX_ATTEMPTS or waiting_elsewhere is not None:
        run.state = RunState.FAILED
        run.message = (
            f"The worker was killed {run.attempts} times during this run, perhaps for want of memory. "
            "Its log says more; start the run again when the cause is removed."
        )
    else:
        run.state = RunState.QUEUED
    run.finished_at = utc_now() if run.state.is_over else None
