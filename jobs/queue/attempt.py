"""An attempt at a run, with a fencing token.

A process that is paused for long (a suspended machine, SIGSTOP) is taken for dead, and its run is given to another
worker; when it continues it does not know that. So each attempt has a fencing token, an increasing number (M.
Kleppmann, "How to do distributed locking", 2016), and its writes are committed only while no later attempt has started,
which is checked in the same transaction.

An attempt that was taken for dead, but not replaced yet, gets its run back with its next write.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from captionloop.errors import RunCancelled, RunLost
from captionloop.model.database import Database, Run, RunState, database_time, utc_now

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_log = logging.getLogger(__name__)

WORKER_OF_RUN = "worker"  # in a run's detail: HOST:PID of the worker that has, or had, its latest attempt


@dataclass(frozen=True)
class Attempt:
    """A worker's hold on a run.

    Args:
        database: where the run is.
        run: at the start of the attempt, with `run.version` if an earlier attempt made one.
        number: the fencing token.
    """

    database: Database
    run: Run
    number: int

    def report(self, progress: float | None = None, **detail: Any) -> None:
        """Report progress, which is also a heartbeat.

        Args:
            progress: 0 to 1; None: unchanged.
            detail: the stage and its figures (step, steps, loss, seconds_left).

        Raises:
            RunCancelled: the run was cancelled.
            RunLost: the run is no longer this attempt's.
        """
        with self.database.session() as session:
            run = self._held(session)
            _refuse_if_cancelled(run)
            kept = {WORKER_OF_RUN: run.detail[WORKER_OF_RUN]} if WORKER_OF_RUN in run.detail else {}
            run.detail, run.heartbeat_at = detail | kept, database_time(session)
            if progress is not None:
                run.progress = progress

    def sign_of_life(self) -> None:
        """
        Raises:
            RunLost: the run is no longer this attempt's.
        """
        with self.database.session() as session:
            self._held(session).heartbeat_at = database_time(session)

    def check(self) -> None:
        """Check whether to continue; nothing is written.

        Raises:
            RunCancelled: the run was cancelled.
            RunLost: the run is no longer this attempt's.
        """
        with self.database.reading() as session:
            run = session.get_one(Run, self.run.id)
            self._refuse_if_lost(session, run)
            _refuse_if_cancelled(run)

    def hold(self, session: Session) -> None:
        """Make a transaction with other writes succeed only while the run is this attempt's.

        Raises:
            RunLost: the run is no longer this attempt's.
        """
        self._held(session)

    def made(self, session: Session, version: str) -> None:
        """Store the version that the run made, in the transaction that creates it, so that there is never a second one.

        Raises:
            RunLost: the run is no longer this attempt's.
        """
        self._held(session).version = version

    def finish(self, state: RunState, *, message: str) -> None:
        """End the run.

        Raises:
            RunLost: the run is no longer this attempt's, or has ended already, and keeps its first outcome.
        """
        with self.database.session() as session:
            run = self._held(session)
            run.state, run.message, run.finished_at = state, message, utc_now()
            if state is RunState.FINISHED:
                run.progress = 1.0

    def _held(self, session: Session) -> Run:
        """The run, locked until the transaction ends, taken back if it was taken for dead."""
        run = session.get_one(Run, self.run.id, with_for_update=True)
        self._refuse_if_lost(session, run)
        if run.state is not RunState.RUNNING:
            _log.warning("run %s was taken for dead, and goes on", run.id)
            run.state, run.heartbeat_at = RunState.RUNNING, database_time(session)
        return run

    def _refuse_if_lost(self, session: Session, run: Run) -> None:
        if run.fence != self.number:
            raise RunLost("Another worker has taken over the run: this one gave no sign of life for long.")
        if run.state.is_over:
            raise RunLost(f"The run is over already ({run.state.value}).")
        if run.state is not RunState.RUNNING and (run.settings != self.run.settings or _another_runs(session, run)):
            raise RunLost("This worker gave no sign of life for long, and the run was asked for anew meanwhile.")


def _refuse_if_cancelled(run: Run) -> None:
    if run.cancel_requested:
        raise RunCancelled("The run was cancelled.")


def _another_runs(session: Session, run: Run) -> bool:
    others = select(Run.id).where(
        Run.project_id == run.project_id, Run.kind == run.kind, Run.state == RunState.RUNNING, Run.id != run.id
    )
    return session.scalar(others.limit(1)) is not None
