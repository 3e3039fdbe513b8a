"""The queue: delivers runs from the database to workers; the only module with Redis keys.

Redis carries plain ids and can be emptied at any moment: `keep_moving` restores it from the database.
"""

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Any, cast

import redis
import rq
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from captionloop.errors import ServiceError
from captionloop.jobs.queue.presence import Presence
from captionloop.jobs.queue.runs import Requested, Runs
from captionloop.jobs.queue.sweeps import Sweeps
from captionloop.jobs.queue.work import RUNS, SYNCS, TRIALS, Work, queues_of
from captionloop.logs import current_request, sane_id
from captionloop.model.database import Run, RunKind, Sweep
from captionloop.model.sweep.search_space import SearchSpace
from captionloop.settings import without_password

_log = logging.getLogger(__name__)

_REQUEST = "request"  # key in RQ's metadata of a job
_CHAMPION_CHANNEL = "captionloop:champion"
_SYNC_ASKED = "captionloop:sync-asked:{project_id}"
# If the job that removes the mark is lost, events can request a sync again after this time.
_SYNC_ASKED_EXPIRES_S = 30
_SYNCS_OWED = "captionloop:syncs-owed"
_OWED_SYNC_TRIED = "captionloop:owed-sync-tried"
# Interval of retries: one while Label Studio is unreachable blocks a worker for some seconds.
_OWED_SYNC_EVERY_S = 60
_PRESENT = "captionloop:process:{}"
_PRESENT_S = 60
_TIMEOUT_S = 5
# No timeout: a run or a sync may take any time, or be paused.
_NO_JOB_TIMEOUT = -1

_OF_RUNS = {
    RunKind.FINETUNE: "captionloop.jobs.entry.finetune",
    RunKind.ANNOTATE: "captionloop.jobs.entry.annotate",
    RunKind.COMPARE: "captionloop.jobs.entry.compare",
}
_OF_SYNCS = "captionloop.jobs.entry.sync"
_OF_TRIALS = "captionloop.jobs.entry.trial"
# All that a job may call.
ENTRY_POINTS = frozenset({*_OF_RUNS.values(), _OF_SYNCS, _OF_TRIALS})
_IN_REDIS = {JobStatus.QUEUED, JobStatus.STARTED, JobStatus.DEFERRED, JobStatus.SCHEDULED}


class Queue:
    """Requests for work, on one Redis."""

    def __init__(self, redis_url: str, runs: Runs, sweeps: Sweeps) -> None:
        self.url = redis_url
        self.runs = runs
        self.sweeps = sweeps
        # RQ raises the timeout where it waits for long by design.
        self.redis = redis.Redis.from_url(redis_url, socket_connect_timeout=_TIMEOUT_S, socket_timeout=_TIMEOUT_S)
        self._queues = {
            name: rq.Queue(name, connection=self.redis, serializer=JSONSerializer) for name in queues_of(list(Work))
        }

    def request(
        self, project_id: int, kind: RunKind, *, asked_by: str, settings: Mapping[str, Any] | None = None
    ) -> Requested:
        """Request a run; see `Runs.request`.

        Raises:
            ServiceError: Redis does not answer. The run is stored and starts once it does.
        """
        requested = self.runs.request(project_id, kind, asked_by=asked_by, settings=settings)
        if requested.must_be_sent:
            with _explained(self.url, "The run is kept and begins when Redis is back."):
                self._send(requested.run)
        return requested

    def request_if_idle(self, project_id: int, kind: RunKind, *, asked_by: str) -> Run | None:
        """Request a run, unless one of this kind is active or waiting; None then.

        Raises:
            ServiceError: Redis does not answer. The run is stored and starts once it does.
        """
        run = self.runs.request_if_idle(project_id, kind, asked_by=asked_by)
        if run is not None:
            with _explained(self.url, "The run is kept and begins when Redis is back."):
                self._send(run)
        return run

    def request_sweep(self, project_id: int, space: SearchSpace, *, trials: int, **facts: Any) -> Sweep:
        """Start a sweep, a job for each trial; see `Sweeps.start`.

        Raises:
            ServiceError: Redis does not answer. The sweep is stored and starts once it does.
        """
        sweep = self.sweeps.start(project_id, space, trials=trials, **facts)
        with _explained(self.url, "The sweep is kept and begins when Redis is back."):
            for number in range(trials):
                self._send_trial(sweep, number)
        return sweep

    def request_sync(self, project_id: int) -> bool:
        """Request a sync; False if one is queued already.

        Raises:
            ServiceError: Redis does not answer.
        """
        with _explained(self.url):
            key = _SYNC_ASKED.format(project_id=project_id)
            if not self.redis.set(key, 1, nx=True, ex=_SYNC_ASKED_EXPIRES_S):
                return False
            self._queues[SYNCS].enqueue_call(
                _OF_SYNCS,
                args=(project_id,),
                timeout=_NO_JOB_TIMEOUT,
                result_ttl=0,
                meta=_asked_by(),
            )
            return True

    def sync_begins(self, project_id: int) -> None:
        """Mark a sync as started: from now on an event needs a new one, since this one may miss it."""
        self.redis.delete(_SYNC_ASKED.format(project_id=project_id))

    def sync_is_owed(self, project_id: int) -> None:
        """Label Studio was unreachable: `keep_moving` retries this sync until it succeeds or fails otherwise."""
        self.redis.sadd(_SYNCS_OWED, project_id)

    def sync_is_done(self, project_id: int) -> None:
        """Stop retrying a project's sync. Label Studio answers, so other owed syncs are retried at once."""
        self.redis.srem(_SYNCS_OWED, project_id)
        self.redis.delete(_OWED_SYNC_TRIED)

    def keep_moving(self) -> None:
        """Restore missing jobs in Redis; called periodically by every long-running process.

        Raises:
            ServiceError: Redis does not answer.
        """
        with _explained(self.url):
            for run in self.runs.advance():
                if not self._holds(_job_id(run)):
                    self._send(run)
            for sweep, waiting in self.sweeps.advance():
                for number in waiting:
                    if not self._holds(_trial_job_id(sweep, number)):
                        self._send_trial(sweep, number)
            self._try_an_owed_sync()

    def hand_back(self, run_id: str, number: int) -> None:
        """Queue a run again after its worker has left it.

        Args:
            number: of the attempt that was left.

        Raises:
            ServiceError: the database or Redis does not answer; then the run is taken for dead after a minute.
        """
        run = self.runs.hand_back(run_id, number)
        if run is not None:
            with _explained(self.url):
                self._send(run)

    def announce_champion(self, project_id: int) -> None:
        """Notify all backends of a project's new champion. They also poll, less often."""
        with _explained(self.url):
            self.redis.publish(_CHAMPION_CHANNEL, str(project_id))

    def champion_changes(self, stop: Event) -> Iterator[int]:
        """Ids of projects with an announced new champion, until `stop` is set.

        Raises:
            ServiceError: the connection is lost; announcements may have been missed.
        """
        with _explained(self.url), self.redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(_CHAMPION_CHANNEL)
            while not stop.is_set():
                message = channel.get_message(timeout=1.0)
                if message is not None:
                    yield int(message["data"])

    def check(self) -> None:
        """Raise `ServiceError` if Redis does not answer."""
        with _explained(self.url):
            self.redis.ping()

    def lengths(self) -> dict[str, int]:
        """How many jobs wait in each queue."""
        with _explained(self.url):
            return {name: queue.count for name, queue in self._queues.items()}

    def workers(self, taking: Collection[Work] = tuple(Work)) -> set[str]:
        """The names of the workers that take one of these kinds of work."""
        with _explained(self.url):
            return {
                str(worker.name)
                for name in queues_of(taking)
                for worker in rq.Worker.all(queue=self._queues[name], serializer=JSONSerializer)
            }

    def say_present(self, process: Presence) -> None:
        """Say that a process is there; said for a minute, by the clock of Redis.

        Raises:
            ServiceError: Redis does not answer.
        """
        with _explained(self.url):
            self.redis.set(_PRESENT.format(process.id), json.dumps(process.to_dict()), ex=_PRESENT_S)

    def say_absent(self, process: Presence) -> None:
        """
        Raises:
            ServiceError: Redis does not answer.
        """
        with _explained(self.url):
            self.redis.delete(_PRESENT.format(process.id))

    def present(self) -> list[Presence]:
        """All that have said within a minute that they are there; backends first.

        Raises:
            ServiceError: Redis does not answer.
        """
        with _explained(self.url):
            keys = list(self.redis.scan_iter(match=_PRESENT.format("*")))
            said = cast("list[bytes | None]", self.redis.mget(keys)) if keys else []
        found = [Presence(**json.loads(text)) for text in said if text is not None]
        return sorted(found, key=lambda process: (process.kind, process.host, process.pid))

    def close(self) -> None:
        self.redis.close()

    def _send(self, run: Run) -> None:
        self._queues[RUNS].enqueue_call(
            _OF_RUNS[run.kind],
            args=(run.id,),
            job_id=_job_id(run),
            timeout=_NO_JOB_TIMEOUT,
            result_ttl=0,
            failure_ttl=0,
            meta=_asked_by(),
        )
        _log.info("run %s (%s) is sent to the workers", run.id, run.kind.value)

    def _send_trial(self, sweep: Sweep, number: int) -> None:
        self._queues[TRIALS].enqueue_call(
            _OF_TRIALS,
            args=(sweep.id, number),
            job_id=_trial_job_id(sweep, number),
            timeout=_NO_JOB_TIMEOUT,
            result_ttl=0,
            failure_ttl=0,
            meta=_asked_by(),
        )

    def _try_an_owed_sync(self) -> None:
        """Retry one owed sync, which finds out whether Label Studio is back."""
        owed = cast("list[bytes]", self.redis.srandmember(_SYNCS_OWED, 1))
        if owed and self.redis.set(_OWED_SYNC_TRIED, 1, nx=True, ex=_OWED_SYNC_EVERY_S):
            self.request_sync(int(owed[0]))

    def _holds(self, job_id: str) -> bool:
        try:
            job = Job.fetch(job_id, connection=self.redis, serializer=JSONSerializer)
        except NoSuchJobError:
            return False
        return job.get_status(refresh=False) in _IN_REDIS


def attempt_of(job: Job) -> tuple[str, int] | None:
    """The run of a job, and the number of its attempt.

    None for a sync, a trial, or a foreign job, which will fail as such.
    """
    try:
        if job.func_name not in _OF_RUNS.values():
            return None
    except DeserializationError:
        return None
    run_id, _, number = job.id.rpartition("-")
    return (run_id, int(number)) if number.isdecimal() else None


def request_of_job() -> str | None:
    """The id of the request that enqueued the present job, if Redis still has it."""
    job = rq.get_current_job()
    return sane_id(job.meta.get(_REQUEST)) if job else None


def _asked_by() -> dict[str, str]:
    request = current_request()
    return {_REQUEST: request} if request else {}


def _job_id(run: Run) -> str:
    """A separate job id per attempt, since RQ still counts a killed job as started."""
    return f"{run.id}-{run.fence + 1}"


def _trial_job_id(sweep: Sweep, number: int) -> str:
    """A trial runs once: its repetition after a kill has its own number."""
    return f"{sweep.id}-{number}"


@contextmanager
def _explained(url: str, consequence: str = "") -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise ServiceError(
            f"Redis does not answer at {without_password(url)} ({error}). {consequence} "
            "Start it with `captionloop up`, or set REDIS_URL to one that runs.".replace("  ", " ")
        ) from error
