"""The worker process: runs, syncs and trials, one at a time, each in a forked child."""

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from types import FrameType

from redis import RedisError
from redis.client import Pipeline
from rq import Queue, Worker
from rq.exceptions import StopRequested
from rq.executions import Execution, ExecutionRegistry
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import current_timestamp

from captionloop.errors import ServiceError
from captionloop.jobs.context import Context, hand_on
from captionloop.jobs.processes.end_with_parent import end_with
from captionloop.jobs.queue.presence import WORKER, Presence
from captionloop.jobs.queue.redis_queue import attempt_of
from captionloop.jobs.queue.runs import DEAD_AFTER_S
from captionloop.jobs.queue.work import Work, queues_of
from captionloop.jobs.worker.due_runs import start_due_runs
from captionloop.jobs.worker.own_job import OwnJob
from captionloop.jobs.worker.worker_metrics import WorkerCollector, serve_metrics
from captionloop.memory import keep_freed_memory

_log = logging.getLogger(__name__)

# RQ's defaults: it checks for dead workers every 600 s, and considers one alive for 420 s after its last heartbeat.
_WORKER_TTL_S = 60
_MAINTENANCE_S = 60
# Priority of jobs (nice(2)): the backend, for which people wait, may share the cores.
_LEAST_URGENT = 19
_BEGIN_AGAIN_AFTER_S = 5


# SQLite has a process-wide lock: a job that is forked while a thread holds it would wait for ever.
_uses_database = threading.Lock()


class _Worker(Worker):
    """RQ's worker, except that on shutdown it kills a run instead of waiting for it, perhaps for hours.

    The run resumes from its last checkpoint, as after any kill. Short jobs are finished.
    """

    left: tuple[str, int] | None = None  # the run that was left, and the number of the attempt
    is_told_to_end = False
    _present: tuple[str, int] | None = None

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        self._present = attempt_of(job)
        with _uses_database:
            super().fork_work_horse(job, queue)
        if self._stop_requested:  # the signal came before the run started
            self._leave_run()

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        assert self.pid is not None  # the worker's
        end_with(self.pid)  # else this job would continue beside the next worker of its run
        keep_freed_memory()
        os.nice(_LEAST_URGENT)
        super().main_work_horse(job, queue)

    def clean_registries(self) -> None:
        """Remove the jobs of killed workers before RQ's own cleanup, which crashes at a partly expired one.

        Their runs are in the database, and `Queue.keep_moving` requeues them.
        """
        for queue in self.queues:
            started = queue.started_job_registry
            expired = started.get_expired_job_ids(current_timestamp())
            for job_id in expired:
                self.connection.delete(Job.key_for(job_id), ExecutionRegistry(job_id, self.connection).key)
            if expired:
                self.connection.zremrangebyscore(started.key, 0, current_timestamp())
        super().clean_registries()  # type: ignore[no-untyped-call]

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Register again if Redis has forgotten this worker: after a pause, or when Redis was emptied."""
        if not self.connection.hexists(self.key, "birth"):
            self.connection.delete(self.key)  # leftovers would count as another worker's
            self.register_birth()  # type: ignore[no-untyped-call]
        super().heartbeat(timeout, pipeline)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Wait for the job also while Redis is unreachable: else a second one would be started beside it."""
        try:
            super().maintain_heartbeats(job, execution)
        except RedisError as error:
            _log.error("Redis does not answer (%s); the job goes on", error)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.is_told_to_end = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def handle_warm_shutdown_request(self) -> None:
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self._leave_run()

    def _leave_run(self) -> None:
        if self._present and self.horse_pid:
            self.left = self._present
            # Not its process group, unlike RQ: right after the fork that is still our own.
            with suppress(ProcessLookupError):
                os.kill(self.horse_pid, signal.SIGKILL)


def work(context: Context, taken: Collection[Work] = tuple(Work), *, metrics_port: int | None = None) -> None:
    """Work until SIGINT or SIGTERM: a sync is finished, a run is left; a second signal ends at once.

    Args:
        taken: the kinds of work to take.
        metrics_port: where Prometheus is told of this worker; None: nowhere.

    Raises:
        BusyError: that port cannot be listened on.
    """
    if metrics_port is not None:
        this = Presence.of_this_process(WORKER, context.settings)
        collector = WorkerCollector(context, this, queues_of(taken), _uses_database)
        serve_metrics(collector, host=context.settings.host, port=metrics_port)
    hand_on(context.settings)
    _import_ahead()
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(context, stop), name="watch-runs", daemon=True)
    watcher.start()
    try:
        worker = _work_until_told_to_end(context, queues_of(taken))
        if worker.left:
            _hand_back(context, *worker.left)
    finally:
        stop.set()
        watcher.join()


def _work_until_told_to_end(context: Context, queues: Sequence[str]) -> _Worker:
    """Restart RQ's loop, which ends when Redis is unreachable or slow, or sends an unexpected response."""
    while True:
        worker: _Worker | None = None
        try:
            worker = _Worker(
                queues,
                connection=context.queue.redis,
                serializer=JSONSerializer,
                job_class=OwnJob,
                worker_ttl=_WORKER_TTL_S,
                maintenance_interval=_MAINTENANCE_S,
            )
            worker.work(logging_level=None)
        except RedisError as error:
            _log.error("Redis does not answer (%s); once more in %d s", error, _BEGIN_AGAIN_AFTER_S)
        if worker is None or not worker.is_told_to_end:
            with suppress(StopRequested, RedisError):  # raised by its handler for a signal at this point
                time.sleep(_BEGIN_AGAIN_AFTER_S)
        if worker is not None and worker.is_told_to_end:
            return worker


def _hand_back(context: Context, run_id: str, number: int) -> None:
    try:
        context.queue.hand_back(run_id, number)
    except ServiceError as error:  # another worker notices within a minute
        _log.error("run %s is not handed back: %s", run_id, error)


def _import_ahead() -> None:
    """Import slow modules once, before forking jobs. Importing makes no CUDA call."""
    gc.disable()  # none of this is garbage, and to find that out takes a second
    import captionloop.jobs.learning.finetune_run
    import captionloop.model.captioning.captioner
    import captionloop.model.sweep.trials  # noqa: F401

    gc.enable()
    gc.freeze()  # so that the collections of a job neither look at it nor, by that, copy its memory


def _watch(context: Context, stop: threading.Event) -> None:
    """Requeue runs of killed workers, and those that Redis has lost; start automatic runs that are due.

    Also removes what killed processes left of versions.
    """
    this = Presence.of_this_process(WORKER, context.settings)
    while True:
        try:
            with _uses_database:
                context.queue.say_present(this)
                context.queue.keep_moving()
                start_due_runs(context)
                context.versions.remove_leftovers()
        except (ServiceError, OSError) as error:
            _log.error("%s", error)
        if stop.wait(DEAD_AFTER_S / 4):
            break
    with suppress(ServiceError):  # it is forgotten in a minute
        context.queue.say_absent(this)
