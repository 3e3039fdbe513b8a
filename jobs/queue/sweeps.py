"""Sweeps: hyperparameter searches as many small jobs, so that more workers finish earlier.

The row in the database has search space and outcome; Optuna stores the trials (`model.sweep.trials`). Redis only
carries a sweep's id and the number of a trial.

    RUNNING ──▶ FINISHED | FAILED (no trial did) | CANCELLED
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from captionloop.errors import NotFoundError, RunCancelled, SettingsError
from captionloop.jobs.queue.last_look import LastLook
from captionloop.model.database import Database, Project, RunState, Sweep, database_time, utc_now
from captionloop.model.sweep.search_space import SearchSpace
from captionloop.model.sweep.sweep_state import SweepState
from captionloop.model.training import named_settings

if TYPE_CHECKING:  # Optuna takes half a second to import, and most processes never meet a sweep
    from captionloop.model.sweep.trials import Trial, Trials


class Sweeps:
    """All changes of sweeps' states.

    Args:
        scratch: the directory of trials' checkpoints.
    """

    def __init__(self, database: Database, scratch: Path) -> None:
        self._database = database
        self._scratch = scratch
        self._last_look = LastLook()

    def start(
        self,
        project_id: int,
        space: SearchSpace,
        *,
        trials: int,
        snapshot: str,
        champion: str,
        first: Sequence[Mapping[str, Any]],
        asked_by: str,
        name: str | None = None,
    ) -> Sweep:
        """Create a sweep with its trials.

        Args:
            first: the settings of the first trials.
            name: of the sweep and the resulting settings; None: a numbered one.

        Raises:
            SettingsError: a sweep, or settings, of this name exist.
            NotFoundError: there is no such project.
        """
        from captionloop.model.sweep.trials import create_trials

        name = self._free_name(project_id, name)
        sweep_id = uuid.uuid4().hex
        create_trials(self._database, sweep_id, trials, first=first)
        with self._database.session() as session:
            sweep = Sweep(
                id=sweep_id,
                project_id=project_id,
                name=name,
                state=RunState.RUNNING,
                asked_by=asked_by,
                space=space.to_dict(),
                trials=trials,
                snapshot=snapshot,
                champion=champion,
            )
            session.add(sweep)
            return sweep

    def advance(self) -> list[tuple[Sweep, list[int]]]:
        """Repeat trials of killed workers, and end finished sweeps; returns the trials that must be in Redis."""
        with self._database.reading() as session:
            was_away = self._last_look.was_long_ago(database_time(session))
            running = session.scalars(select(Sweep).where(Sweep.state == RunState.RUNNING)).all()
        to_send = []
        for sweep in running:
            waiting = self._advance(sweep, gives_up=not was_away)
            if waiting:
                to_send.append((sweep, waiting))
        return to_send

    def cancel(self, project_id: int, name: str) -> Sweep:
        """End a sweep: running trials stop at their next check, and the best settings so far are saved.

        Raises:
            NotFoundError: the project has no such sweep.
        """
        sweep = self.named(project_id, name)
        if not sweep.state.is_over:
            with self._trials(sweep) as trials:
                trials.give_up("The sweep was cancelled.")
            self._end(sweep, RunState.CANCELLED)
        return self.named(project_id, name)

    def check_cancelled(self, sweep_id: str) -> None:
        """Raise `RunCancelled` if the sweep was cancelled."""
        if self.get(sweep_id).state.is_over:
            raise RunCancelled("The sweep was cancelled.")

    # Reading -------------------------------------------------------------------------------------------------------

    def get(self, sweep_id: str) -> Sweep:
        with self._database.reading() as session:
            return session.get_one(Sweep, sweep_id)

    def named(self, project_id: int, name: str) -> Sweep:
        """A project's sweep.

        Raises:
            NotFoundError: it has none of this name.
        """
        known = self.all_of(project_id)
        for sweep in known:
            if sweep.name == name:
                return sweep
        raise NotFoundError(
            f"There is no sweep {name!r} in this project. "
            f"It has: {', '.join(sweep.name for sweep in known) or 'none yet'}."
        )

    def all_of(self, project_id: int) -> Sequence[Sweep]:
        """The sweeps of a project, oldest first."""
        with self._database.reading() as session:
            return session.scalars(select(Sweep).where(Sweep.project_id == project_id).order_by(Sweep.created_at)).all()

    def state(self, sweep_id: str) -> SweepState:
        """The state of a sweep, with all its trials."""
        sweep = self.get(sweep_id)
        with self._trials(sweep) as trials:
            return SweepState(sweep, trials.all())

    # Changing ------------------------------------------------------------------------------------------------------

    def _free_name(self, project_id: int, name: str | None) -> str:
        with self._database.reading() as session:
            if session.get(Project, project_id) is None:
                raise NotFoundError(f"There is no project with the number {project_id} in the database.")
            taken = {row.name for row in named_settings.all_of(session, project_id)}
            taken |= set(session.scalars(select(Sweep.name).where(Sweep.project_id == project_id)))
            count = session.scalar(select(func.count()).where(Sweep.project_id == project_id)) or 0
        if name is None:
            return next(
                free for number in range(count + 1, count + 2 + len(taken)) if (free := f"sweep-{number}") not in taken
            )
        if name in taken:
            raise SettingsError(f"There are a sweep or settings named {name!r} already; choose another --name.")
        return name

    def _advance(self, sweep: Sweep, *, gives_up: bool) -> list[int]:
        from captionloop.model.sweep.trials import TrialState

        with self._trials(sweep) as trials:
            if gives_up:
                trials.fail_dead()
            found = trials.all()
        if all(trial.state.is_over for trial in found):
            finished = any(trial.score is not None for trial in found)
            self._end(sweep, RunState.FINISHED if finished else RunState.FAILED)
        return [trial.number for trial in found if trial.state is TrialState.WAITING]

    def _end(self, sweep: Sweep, state: RunState) -> None:
        """Store a sweep's outcome, and save its best settings under its name."""
        shown = self.state(sweep.id)
        best, space = shown.best, shown.space
        with self._database.session() as session:
            row = session.get_one(Sweep, sweep.id, with_for_update=True)
            if row.state.is_over:
                return
            row.state, row.message, row.finished_at = state, _outcome(shown, state), utc_now()
            if best is not None:
                named_settings.save(
                    session,
                    row.project_id,
                    row.name,
                    {**space.fixed, **best.choice},
                    origin=f"trial {best.number} of the sweep {row.name}, on snapshot {row.snapshot[:12]}",
                )
        shutil.rmtree(self._scratch / sweep.id, ignore_errors=True)

    @contextmanager
    def _trials(self, sweep: Sweep) -> Iterator[Trials]:
        from captionloop.model.sweep.trials import Trials

        with Trials.opened(self._database, sweep.id) as trials:
            yield trials


def _outcome(shown: SweepState, state: RunState) -> str:
    """The outcome, in a few sentences for people."""
    from captionloop.model.sweep.trials import best_of

    best, counts = shown.best, shown.counts
    begin = "Cancelled. " if state is RunState.CANCELLED else ""
    if best is None:
        reasons = [trial.reason for trial in shown.trials if trial.reason]
        return begin + ("No trial finished." + (f" The last one: {reasons[-1]}" if reasons else ""))
    close = [trial.number for trial in shown.trials if trial is not best and _is_close(trial, best)]
    doubt = f" Too close to call: trial {', '.join(map(str, close))}." if close else ""
    default = best_of([trial for trial in shown.trials if trial.is_default])
    beside = "" if default is None else " (a default)" if default is best else f" (best default: {default.score:.2f})"
    tried = ", ".join(f"{count} {name}" for name, count in counts.items())
    return (
        f"{begin}Trial {best.number} is best: {best.choice['way']}, {best.choice['schedule']}, rate "
        f"{best.choice['learning_rate']:.2g}, CIDEr-D + BLEU-4 {best.score:.2f} ± {best.standard_error:.2f}{beside}."
        f"{doubt} Of all: {tried}."
    )


def _is_close(trial: Trial, best: Trial) -> bool:
    """Whether the best score is within this trial's 95 % interval."""
    return trial.interval is not None and best.score is not None and trial.interval[1] >= best.score
