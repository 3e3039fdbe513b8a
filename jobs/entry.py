"""The functions that RQ calls by name, with plain ids.

`finetune(run)`, `annotate(run)`, `compare(run)`, `sync(project)`, `trial(sweep, number)`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from captionloop.errors import CaptionloopError, LabelStudioError, RunCancelled, ServiceError, TrialPruned
from captionloop.jobs import context as contexts
from captionloop.jobs.context import Context
from captionloop.jobs.queue.redis_queue import request_of_job
from captionloop.jobs.queue.runs import HEARTBEAT_S
from captionloop.jobs.worker.failure_reasons import reason_of
from captionloop.logs import belonging_to
from captionloop.model.database import Run, RunState
from captionloop.model.sweep.search_space import SearchSpace

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
    from captionloop.jobs.learning.trial import run_trial
    from captionloop.model.sweep.trials import Trials

    with _job(f"{sweep_id}-{number}") as context, Trials.opened(context.database, sweep_id) as trials:
        sweep = context.queue.sweeps.get(sweep_id)
        ongoing = None if sweep.state.is_over else trials.take(number, SearchSpace.from_dict(sweep.space))
        if ongoing is None:
            return
        try:
            with _heartbeat(ongoing.sign_of_life):
                score = run_trial(context, sweep, ongoing)
            ongoing.finish(score)
            _log.info("sweep %s, trial %d: %s", sweep.name, number, score)
        except TrialPruned as pruned:
            ongoing.prune()
            _log.info("sweep %s: %s", sweep.name, pruned)
        except CaptionloopError as error:  # also when the sweep was cancelled
            ongoing.fail(str(error))
            _log.error("sweep %s, trial %d: %s", sweep.name, number, error)
        except Exception as error:
            ongoing.fail(reason_of(error))
            raise
        finally:
            _keep_moving(context)


def sync(project_id: int) -> None:
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
    work: Callable[[Context, Run], tuple[str, str | None]],
    *,
    cancelled: str = "Cancelled. Everything is as it was before.",
) -> None:
    """Start a run, do its work, and store its outcome, whatever happens short of a kill."""
    with _job(run_id) as context:
        runs = context.queue.runs
        run = runs.start(run_id)
        if run is None:
            return
        try:
            with _heartbeat(partial(runs.sign_of_life, run_id)):
                message, version = work(context, run)
            runs.finish(run_id, RunState.FINISHED, message=message, version=version)
            _log.info("run %s: %s", run_id, message)
        except RunCancelled:
            runs.finish(run_id, RunState.CANCELLED, message=cancelled)
            _log.info("run %s was cancelled", run_id)
        except CaptionloopError as error:
            runs.finish(run_id, RunState.FAILED, message=str(error))
            _log.error("run %s: %s", run_id, error)
        except Exception as error:
            runs.finish(run_id, RunState.FAILED, message=reason_of(error))
            raise
        finally:
            _keep_moving(context)


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

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
