"""The worker process: takes runs, syncs and trials from the queues, one at a time, each in a child of its own."""

import logging
import threading

from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer

from captionloop.errors import ServiceError
from captionloop.jobs.context import Context
from captionloop.jobs.due_runs import start_due_runs
from captionloop.jobs.queue import QUEUE_NAME, TRIALS_QUEUE_NAME
from captionloop.jobs.runs import DEAD_AFTER_S
from captionloop.model.database import RunState

_log = logging.getLogger(__name__)

# RQ looks for dead workers every 600 s by itself, and believes in one for 420 s after its last sign of life.
_WORKER_TTL_S = 60
_MAINTENANCE_S = 60


# SQLite has a lock for all of a process. A job that is forked while a thread holds it waits for it for ever.
_uses_database = threading.Lock()


class _Worker(Worker):
    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        with _uses_database:
            super().fork_work_horse(job, queue)


def work(context: Context) -> None:
    """Work until SIGINT or SIGTERM; a second signal ends the present job at once."""
    _import_ahead()
    _sweep(context)
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(context, stop), name="watch-runs", daemon=True)
    watcher.start()
    try:
        worker = _Worker(
            [QUEUE_NAME, TRIALS_QUEUE_NAME],  # in this order
            connection=context.queue.redis,
            serializer=JSONSerializer,
            worker_ttl=_WORKER_TTL_S,
            maintenance_interval=_MAINTENANCE_S,
        )
        worker.work(logging_level=None)
    finally:
        stop.set()
        watcher.join()


def _sweep(context: Context) -> None:
    """Remove what crashed runs left behind, unless a run goes on, which may be writing a version in another worker."""
    if any(run.state is RunState.RUNNING for run in context.queue.runs.active()):
        return
    for leftover in context.versions.sweep():
        _log.warning("removed %s, which a crash left unfinished", leftover.name)


def _import_ahead() -> None:
    """Import what takes seconds once, here: each job is a fork of this process. No CUDA call is made by importing."""
    import captionloop.jobs.finetune
    import captionloop.model.captioner
    import captionloop.model.trials  # noqa: F401


def _watch(context: Context, stop: threading.Event) -> None:
    """Bring runs back into motion whose worker was killed, or which Redis has lost; begin those that are due."""
    while True:
        try:
            with _uses_database:
                context.queue.keep_moving()
                start_due_runs(context)
        except ServiceError as error:
            _log.error("%s", error)
        if stop.wait(DEAD_AFTER_S / 4):
            return
