"""The worker process: takes runs, syncs and trials from the queues, one at a time, each in a child of its own."""

import logging
import threading

from rq import Worker
from rq.serializers import JSONSerializer

from captionloop.errors import ServiceError
from captionloop.jobs.context import Context
from captionloop.jobs.queue import QUEUE_NAME, TRIALS_QUEUE_NAME
from captionloop.jobs.runs import DEAD_AFTER_S

_log = logging.getLogger(__name__)

# RQ looks for dead workers every 600 s by itself, and believes in one for 420 s after its last sign of life.
_WORKER_TTL_S = 60
_MAINTENANCE_S = 60


def work(context: Context) -> None:
    """Work until SIGINT or SIGTERM; a second signal ends the present job at once."""
    _import_ahead()
    for leftover in context.versions.sweep():
        _log.warning("removed %s, which a crash left unfinished", leftover.name)
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(context, stop), name="watch-runs", daemon=True)
    watcher.start()
    try:
        worker = Worker(
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


def _import_ahead() -> None:
    """Import what takes seconds once, here: each job is a fork of this process. No CUDA call is made by importing."""
    import captionloop.jobs.finetune
    import captionloop.model.captioner
    import captionloop.model.trials  # noqa: F401


def _watch(context: Context, stop: threading.Event) -> None:
    """Bring runs back into motion whose worker was killed, or which Redis has lost."""
    while True:
        try:
            context.queue.keep_moving()
        except ServiceError as error:
            _log.error("%s", error)
        if stop.wait(DEAD_AFTER_S / 4):
            return
