"""The trials of a sweep, stored by Optuna: choice of settings, results, pruning.

The only module that uses Optuna. Its tables are in our database; a sweep is a study with the sweep's id as its name.
All trials are created at the beginning, waiting; the settings of one are chosen when it starts, from earlier results.

    WAITING ──▶ RUNNING ──▶ FINISHED | PRUNED | FAILED
                   └─ its worker was killed: FAILED, and a new trial WAITING to try the same, `MOST_RETRIES` times
"""

from __future__ import annotations

import enum
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import MedianPruner
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial

from captionloop.errors import RunLost, ServiceError, TrialPruned
from captionloop.model.database import Database, engine_arguments, prepare
from captionloop.model.metrics import Score
from captionloop.model.sweep.search_space import SearchSpace

DEAD_AFTER_S = 60  # without a heartbeat; heartbeats should be several times as frequent
MOST_RETRIES = 2
# Pruning starts after a third of a trial's steps, when the rate has long been at its peak, and with at least so many
# other trials.
_PRUNE_FROM_PERCENT = 33
_PRUNE_AGAINST = 4

_STANDARD_ERROR, _INTERVAL, _REASON = "standard_error", "interval", "reason"
_KILLED = "Its worker was killed, perhaps for want of memory."


class TrialState(enum.StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self not in {TrialState.WAITING, TrialState.RUNNING}


_STATES = {
    optuna.trial.TrialState.WAITING: TrialState.WAITING,
    optuna.trial.TrialState.RUNNING: TrialState.RUNNING,
    optuna.trial.TrialState.COMPLETE: TrialState.FINISHED,
    optuna.trial.TrialState.PRUNED: TrialState.PRUNED,
    optuna.trial.TrialState.FAIL: TrialState.FAILED,
}


@dataclass(frozen=True)
class Trial:
    """One trial.

    Args:
        number: from 0, in order of creation.
        choice: its values, by the names of `SEARCHED`; empty until it starts.
        validations: percent of its steps → CIDEr-D + BLEU-4 on the validation images.
        score: the same of its final weights; None unless it finished.
        standard_error, interval: of the score, by a bootstrap over the images; the interval is 95 %.
        seconds: its duration.
        reason: why it failed.
        is_default: it uses the defaults of a way.
        first: the number of the trial that this one repeats after its worker was killed; else its own.
        is_repeated: another trial repeats it.
    """

    number: int
    state: TrialState
    choice: Mapping[str, Any]
    validations: Mapping[int, float]
    score: float | None
    standard_error: float | None
    interval: tuple[float, float] | None
    seconds: float | None
    reason: str
    is_default: bool
    first: int
    is_repeated: bool

    @property
    def last_score(self) -> float | None:
        """The score, else that of the last validation, if any."""
        return self.score if self.score is not None or not self.validations else self.validations[max(self.validations)]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "number": self.number,
            "state": self.state.value,
            **{name: self.choice.get(name) for name in ("way", "schedule", "learning_rate")},
            "score": self.score,
            "standard_error": self.standard_error,
            "interval": list(self.interval) if self.interval else None,
            "seconds": self.seconds,
            "is_default": self.is_default,
            "reason": self.reason,
            "validations": [
                {"percent": percent, "score": score} for percent, score in sorted(self.validations.items())
            ],
        }


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The finished trial with the highest score; None before one has finished."""
    scored = [trial for trial in trials if trial.score is not None]
    return max(scored, key=lambda trial: trial.score or 0.0, default=None)


class OngoingTrial:
    """A trial that this process is running."""

    def __init__(self, study: optuna.Study, storage: RDBStorage, trial: optuna.Trial, record: Trial) -> None:
        self._study, self._storage, self._trial, self.record = study, storage, trial, record
        self._seen = set(record.validations)  # by the previous attempt

    @property
    def choice(self) -> dict[str, Any]:
        return self._trial.params

    def report(self, percent: int, score: float) -> None:
        """Report a validation score after a percentage of the steps.

        Raises:
            TrialPruned: the others were better at that point.
            RunLost: the trial was ended.
        """
        if percent not in self._seen:
            self._seen.add(percent)
            try:
                self._trial.report(score, percent)
            except UpdateFinishedTrialError as error:
                raise self._lost() from error
        if self._trial.should_prune():
            raise TrialPruned(f"Trial {self._trial.number} falls behind the others after {percent} % of its steps.")

    def check(self) -> None:
        """Look whether the trial is still to be done.

        Raises:
            RunLost: it was given up: its worker was taken for dead, and another trial tries the same, or its sweep was
                cancelled.
        """
        if self._storage.get_trial(self._trial._trial_id).state is not optuna.trial.TrialState.RUNNING:
            raise self._lost()

    def _lost(self) -> RunLost:
        return RunLost(f"Trial {self._trial.number} was given up.")

    def sign_of_life(self) -> None:
        """Heartbeat; call it several times within `DEAD_AFTER_S`, from any thread.

        Raises:
            ServiceError: the database does not answer.
        """
        try:
            self._storage.record_heartbeat(self._trial._trial_id)
        except StorageInternalError as error:
            raise ServiceError(f"The database does not take the sign of life of trial {self._trial.number}.") from error

    def finish(self, score: Score) -> None:
        notes = {_STANDARD_ERROR: score.standard_error, _INTERVAL: list(score.interval)}
        self._end(optuna.trial.TrialState.COMPLETE, score.value, notes=notes)

    def prune(self) -> None:
        self._end(optuna.trial.TrialState.PRUNED)

    def fail(self, reason: str) -> None:
        self._end(optuna.trial.TrialState.FAIL, notes={_REASON: reason})

    def _end(
        self, state: optuna.trial.TrialState, value: float | None = None, *, notes: Mapping[str, Any] | None = None
    ) -> None:
        """End the trial.

        Raises:
            RunLost: it was ended already, and stays as it is.
        """
        self.check()
        try:
            for name, note in (notes or {}).items():
                self._trial.set_user_attr(name, note)
        except UpdateFinishedTrialError as error:
            raise self._lost() from error
        self._study.tell(self._trial, value, state=state, skip_if_finished=True)


class Trials:
    """The trials of one sweep. Open them with `opened`."""

    def __init__(self, storage: RDBStorage, sweep_id: str) -> None:
        self._storage = storage
        self._study = optuna.load_study(
            study_name=sweep_id,
            storage=storage,
            pruner=MedianPruner(n_startup_trials=_PRUNE_AGAINST, n_warmup_steps=_PRUNE_FROM_PERCENT),
        )

    @classmethod
    @contextmanager
    def opened(cls, database: Database, sweep_id: str) -> Iterator[Trials]:
        """The trials of a sweep, after `create_trials`."""
        with _storage(database) as storage:
            yield cls(storage, sweep_id)

    def all(self) -> list[Trial]:
        """In order of creation."""
        rows = self._study.get_trials(deepcopy=False)
        repeated = {number for row in rows for number in row.system_attrs.get("retry_history", [])}
        return [_record(row, is_repeated=row.number in repeated) for row in rows]

    def take(self, number: int, space: SearchSpace) -> OngoingTrial | None:
        """Take a waiting trial for this process and choose its settings; None if another process took it."""
        storage = self._storage
        trial_id = self._study.get_trials(deepcopy=False)[number]._trial_id  # and the study knows the trial from now on
        if storage.get_trial(trial_id).state is not optuna.trial.TrialState.WAITING:
            return None
        storage.record_heartbeat(trial_id)  # before it runs: without a first heartbeat it never counts as dead
        try:
            if not storage.set_trial_state_values(trial_id, optuna.trial.TrialState.RUNNING):
                return None
        except UpdateFinishedTrialError:
            return None
        # As `Study.ask` does, which however takes any waiting trial, and creates a new one when none is waiting.
        trial = optuna.Trial(self._study, trial_id)
        trial.suggest_categorical("way", space.ways)
        trial.suggest_categorical("schedule", space.schedules)
        trial.suggest_float("learning_rate", *space.rates, log=True)
        return OngoingTrial(self._study, storage, trial, _record(storage.get_trial(trial_id), is_repeated=False))

    def fail_dead(self) -> None:
        """Fail the trials whose workers were killed, and queue their repetition."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)

    def give_up(self, reason: str) -> None:
        """Fail all unfinished trials; their workers notice at the next report or at the end."""
        unfinished = (optuna.trial.TrialState.WAITING, optuna.trial.TrialState.RUNNING)
        for row in self._study.get_trials(deepcopy=False, states=unfinished):
            with suppress(UpdateFinishedTrialError):  # it ended this moment
                self._storage.set_trial_user_attr(row._trial_id, _REASON, reason)
                self._storage.set_trial_state_values(row._trial_id, optuna.trial.TrialState.FAIL)


def create_trials(database: Database, sweep_id: str, count: int, *, first: Sequence[Mapping[str, Any]]) -> None:
    """Create the trials of a new sweep, all waiting.

    Args:
        count: how many.
        first: the settings of the first ones, the defaults; Optuna chooses for the others.
    """
    with _storage(database) as storage:
        study = optuna.create_study(study_name=sweep_id, storage=storage, direction="maximize")
        for choice in [*map(dict, first), *[{}] * count][:count]:
            study.enqueue_trial(choice)


def make_tables(database: Database) -> None:
    """Create Optuna's tables if missing."""
    with _storage(database):
        pass


@contextmanager
def _storage(database: Database) -> Iterator[RDBStorage]:
    """Optuna's storage, on an engine with our locking, so that two workers cannot take the same trial."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = RDBStorage(
            database.url.replace("{", "{{").replace("}", "}}"),  # it is a template to Optuna
            engine_kwargs=engine_arguments(database.url),
            heartbeat_interval=DEAD_AFTER_S // 6,
            grace_period=DEAD_AFTER_S,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(
                MOST_RETRIES, inherit_intermediate_values=True
            ),
        )
    storage.engine.dispose()
    prepare(storage.engine)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _record(row: FrozenTrial, *, is_repeated: bool) -> Trial:
    state, notes = _STATES[row.state], row.user_attrs
    failed = state is TrialState.FAILED
    return Trial(
        number=row.number,
        state=state,
        choice=row.params,
        validations=row.intermediate_values,
        score=row.value if state is TrialState.FINISHED else None,
        standard_error=notes.get(_STANDARD_ERROR),
        interval=tuple(notes[_INTERVAL]) if _INTERVAL in notes else None,
        seconds=row.duration.total_seconds() if row.duration and state.is_over else None,
        reason=str(notes.get(_REASON, _KILLED)) if failed else "",
        is_default=bool(row.system_attrs.get("fixed_params")),
        first=int(row.system_attrs.get("failed_trial", row.number)),
        is_repeated=is_repeated,
    )
