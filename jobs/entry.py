"""The functions that RQ calls by name, with plain ids.

`finetune(run)`, `annotate(run)`, `compare(run)`, `sync(project)`, `trial(sweep, number)`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from captionloop.errors import CaptionloopError, LabelStudioError, RunCancelled, RunLost, ServiceError, TrialPruned
from captionloop.jobs import context as contexts
from captionloop.jobs.context import Context
from captionloop.jobs.queue.attempt import Attempt
from captionloop.jobs.queue.redis_queue import request_of_job
from captionloop.jobs.queue.runs import HEARTBEAT_S
from captionloop.jobs.worker.failure_reasons import reason_of
from captionloop.logs import belonging_to
from captionloop.model.database import RunState, Sweep
from captionloop.model.sweep.search_space import SearchSpace

if TYPE_CHECKING:
    from captionloop.model.sweep.trials import OngoingTrial

_log = logging.getLogger(__name__)

# Events come in bursts (several annotations saved at once); a sync after a short wait serves the whole burst.
_DEBOUNCE_S = 1.0


def finetune(run_id: str) -> None:
    from captionloop.jobs.learning.finetune_run import run_finetune

    _carry_out(run_id, run_finetune)


def annotate(run_id: str) -> None:
    from captionloop.jobs.captioning.annotate_run import run_annotate

    _carry_out(run_id, run_annotate, cancelled="Cancelled. The suggestions made until then stay.")


def compare(run_id: str) -> None:
    from captionloop.jobs.learning.compare_run import run_compare

    _carry_out(run_id, run_compare)


def trial(sweep_id: str, number: int) -> None:
    """Run a trial and store its outcome, whatever happens short of a kill."""
    from captionloop.model.sweep.trials import Trials

    with _job(f"{sweep_id}-{number}") as context, Trials.opened(context.database, sweep_id) as trials:
        sweep = context.queue.sweeps.get(sweep_id)
        ongoing = None if sweep.state.is_over else trials.take(number, SearchSpace.from_dict(sweep.space))
        if ongoing is None:
            return
        try:
            _try_out(context, sweep, ongoing)
        except RunLost as lost:
            _log.warning("sweep %s, trial %d is left alone: %s", sweep.name, number, lost)
        finally:
            _keep_moving(context)


def sync(project_id: int) -> None:
    """Sync a project. After a failure that may pass it is asked for again."""
    from captionloop.jobs.project.sync import sync as sync_project

    with _job(f"sync-{project_id}") as context:
        time.sleep(_DEBOUNCE_S)
        context.queue.sync_begins(project_id)
        try:
            result = sync_project(context, project_id)
        except CaptionloopError as error:
            # Nothing is lost: the next event, or the sync before the next run, reads the same annotations.
            _log.error("project %s could not be synced: %s", project_id, error)
            if isinstance(error, LabelStudioError) and error.may_pass:
                # Retried later instead of waiting here, since other runs need the worker.
                context.queue.sync_is_owed(project_id)
                return
        else:
            _log.info("project %s: %s", project_id, result)
        context.queue.sync_is_done(project_id)


def _carry_out(
    run_id: str,
    work: Callable[[Context, Attempt], str],
    *,
    cancelled: str = "Cancelled. Everything is as it was before.",
) -> None:
    """Start a run, do its work, and store its outcome, whatever happens short of a kill."""
    with _job(run_id) as context:
        attempt = context.queue.runs.start(run_id)
        if attempt is None:
            return
        try:
            _carry_on(context, attempt, work, cancelled)
        except RunLost as lost:  # whatever went wrong here besides: the run goes on elsewhere
            _log.warning("run %s is left alone: %s", run_id, lost)
        finally:
            _keep_moving(context)


def _carry_on(context: Context, attempt: Attempt, work: Callable[[Context, Attempt], str], cancelled: str) -> None:
    """
    Raises:
        RunLost: the run is no longer this attempt's; how it ends is written by whose it is.
    """
    run_id = attempt.run.id
    try:
        with _heartbeat(attempt.sign_of_life):
            message = work(context, attempt)
        attempt.finish(RunState.FINISHED, message=message)
        _log.info("run %s: %s", run_id, message)
    except RunLost:
        raise
    except RunCancelled:
        attempt.finish(RunState.CANCELLED, message=cancelled)
        _log.info("run %s was cancelled", run_id)
    except CaptionloopError as error:
        attempt.finish(RunState.FAILED, message=str(error))
        _log.error("run %s: %s", run_id, error)
    except Exception as error:
        attempt.finish(RunState.FAILED, message=reason_of(error))
        raise


def _try_out(context: Context, sweep: Sweep, trial: "OngoingTrial") -> None:
    """
    Raises:
        RunLost: the trial is no longer this worker's.
    """
    from captionloop.jobs.learning.trial import run_trial

    try:
        with _heartbeat(trial.sign_of_life):
            score = run_trial(context, sweep, trial)
        trial.finish(score)
        _log.info("sweep %s, trial %d: %s", sweep.name, trial.record.number, score)
    except RunLost:
        raise
    except TrialPruned as pruned:
        trial.prune()
        _log.info("sweep %s: %s", sweep.name, pruned)
    except CaptionloopError as error:  # also when the sweep was cancelled
        trial.fail(str(error))
        _log.error("sweep %s, trial %d: %s", sweep.name, trial.record.number, error)
    except Exception as error:
        trial.fail(reason_of(error))
        raise


@contextmanager
def _job(name: str) -> Iterator[Context]:
    """The context of a job; log lines meanwhile name the job and the request that enqueued it."""
    with belonging_to(request=request_of_job(), job=name), contexts.opened() as context:
        yield context


def _keep_moving(context: Context) -> None:
    try:
        context.queue.keep_moving()
    except ServiceError as error:
        _log.error("the next run begins later: %s", error)


@contextmanager
def _heartbeat(sign_of_life: Callable[[], None]) -> Iterator[None]:
    """Send heartbeats from a thread, since the work may be silent for minutes (a model loads, a file is written)."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_S):
            try:
                sign_of_life()
            except ServiceError as error:  # the next one may succeed, and the run must not be taken for dead
                _log.error("no sign of life: %s", error)
            except RunLost:  # the work learns of it when it next says how far it is
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
