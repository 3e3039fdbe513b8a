"""Prometheus metrics: counted as events happen, or collected at a scrape.

docs/grafana/captionloop.json displays them; docs/watching.md explains each.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from socket import gethostname
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from captionloop.backend.projects.project_rows import Projects
from captionloop.backend.serving.champions import Champions
from captionloop.errors import CheckpointError, ImageError, LabelStudioError, ServiceError
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.model.database import Database
from captionloop.model.progress.counts import count_all
from captionloop.package_version import __version__

if TYPE_CHECKING:
    from captionloop.model.captioning.feature_cache import FeatureCache

_REQUEST_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 100)  # Label Studio gives up after 100
_BATCH_SIZES = (1, 2, 4, 8, 16, 32)
_BATCH_SECONDS = (0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# Every reason has its series from the start: an alert on the first failure needs the 0 before it.
_REASONS = ("image", "late", "model", "label studio", "service", "unexpected")


class Metrics:
    """The counters of one backend process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series of when each began
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "captionloop_http_requests",
            "Requests answered, by the address as it is written in the code.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "captionloop_http_request_seconds",
            "Time until an answer begins.",
            ["route"],
            buckets=_REQUEST_SECONDS,
            registry=self.registry,
        )
        self.suggestions = Counter(
            "captionloop_suggestions", "Captions given to Label Studio by /predict.", registry=self.registry
        )
        self.failures = Counter(
            "captionloop_failures", "What went wrong: tasks without a caption, requests in vain.", ["reason"],
            registry=self.registry,
        )  # fmt: skip
        for reason in _REASONS:
            self.failures.labels(reason)
        self._batch_size = Histogram(
            "captionloop_batch_size", "Pictures captioned together.", buckets=_BATCH_SIZES, registry=self.registry
        )
        self._batch_seconds = Histogram(
            "captionloop_batch_seconds", "Time for one batch.", buckets=_BATCH_SECONDS, registry=self.registry
        )

    def batch(self, size: int, seconds: float) -> None:
        """A batch was captioned."""
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)

    def failed(self, error: BaseException) -> None:
        """Something failed for this reason."""
        self.failures.labels(_reason(error)).inc()


def _reason(error: BaseException) -> str:
    kinds = {
        ImageError: "image", CheckpointError: "model", LabelStudioError: "label studio", ServiceError: "service",
    }  # fmt: skip
    return next((reason for kind, reason in kinds.items() if isinstance(error, kind)), "unexpected")


class BackendCollector(Collector):
    """Metrics of this process beside its counters; those of several backends can be summed."""

    def __init__(
        self, *, projects: Projects, database: Database, queue: Queue, champions: Champions, features: "FeatureCache",
        port: int,
    ) -> None:  # fmt: skip
        """
        Args:
            port: that this backend listens on; it tells backends of one machine apart.
        """
        self._projects = projects
        self._parts: dict[str, Callable[[], None]] = {"database": database.check, "redis": queue.check}
        self._champions = champions
        self._features = features
        self._port = port

    def describe(self) -> list[Metric]:
        """Empty, so that the registry does not query the database at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        process = (__version__, gethostname(), str(self._port), str(os.getpid()))
        yield _gauge(
            "captionloop_info", "The process whose own figures these are.", ["version", "host", "port", "pid"],
            [(process, 1)],
        )  # fmt: skip
        up = {part: _answers(check) for part, check in self._parts.items()}
        yield _gauge(
            "captionloop_up", "1: this part answers this process; 0: it does not.", ["part"],
            [((part,), int(answers)) for part, answers in up.items()],
        )  # fmt: skip
        if up["database"]:
            yield from self._champions_here()
        yield _gauge(
            "captionloop_pictures_waiting", "Pictures that wait for the next batch.", [],
            [((), self._champions.waiting())],
        )  # fmt: skip
        for name, help, value in (
            ("hits", "Images whose encoding was known.", self._features.hits),
            ("misses", "Images that had to be encoded.", self._features.misses),
        ):
            yield CounterMetricFamily(f"captionloop_feature_cache_{name}", help, value=value)

    def _champions_here(self) -> Iterator[Metric]:
        numbers = {project.id: str(project.label_studio_id) for project in self._projects.connected()}
        serving = self._champions.serving()
        yield _gauge(
            "captionloop_serving", "1 for the version that this process serves a project with.", ["project", "version"],
            [((numbers[project], version), 1) for project, version in serving.items() if project in numbers],
        )  # fmt: skip
        yield _gauge(
            "captionloop_champion_damaged", "1: a project's champion cannot be loaded; the one before it may serve.",
            ["project"],
            [((number,), int(bool(self._champions.problem(project)))) for project, number in numbers.items()],
        )  # fmt: skip


def _answers(check: Callable[[], None]) -> bool:
    try:
        check()
    except ServiceError:
        return False
    return True


class InstallationCollector(Collector):
    """Metrics from the database and Redis, the same whichever backend is asked.

    A part that does not answer has no metrics: a gap in a curve is true, a 0 is not.
    """

    def __init__(self, *, projects: Projects, database: Database, queue: Queue) -> None:
        self._projects = projects
        self._database = database
        self._queue = queue

    def describe(self) -> list[Metric]:
        """Empty, as above."""
        return []

    def collect(self) -> Iterator[Metric]:
        for collect in (self._in_database, self._in_redis):
            with suppress(ServiceError):  # `captionloop_up` says so
                yield from list(collect())

    def _in_database(self) -> Iterator[Metric]:
        with self._database.reading() as session:
            found = count_all(session, self._projects.server)
        numbers = {project.id: str(project.label_studio_id) for project in found.projects}
        yield _gauge(
            "captionloop_corrections", "Corrections, by what they are to training.", ["project", "state"],
            [((numbers[row.project_id], row.state.value), row.count) for row in found.corrections],
        )  # fmt: skip
        yield _gauge(
            "captionloop_runs", "Runs, by kind and state.", ["project", "kind", "state"],
            [((numbers[row.project_id], row.kind.value, row.state.value), row.count) for row in found.runs],
        )  # fmt: skip
        yield _gauge(
            "captionloop_run_progress", "How far a running run is, 0 to 1.", ["project", "kind"],
            [((numbers[run.project_id], run.kind.value), run.progress) for run in found.running],
        )  # fmt: skip
        yield _gauge(
            "captionloop_run_sign_of_life_seconds", "When a running run last gave a sign of life, in Unix time.",
            ["project", "kind"],
            [
                ((numbers[run.project_id], run.kind.value), run.heartbeat_at.timestamp())
                for run in found.running
                if run.heartbeat_at
            ],
        )  # fmt: skip
        with_champion = [project for project in found.projects if project.champion]
        yield _gauge(
            "captionloop_champion", "1 for the version that is to serve a project.", ["project", "version"],
            [((numbers[project.id], project.champion or ""), 1) for project in with_champion],
        )  # fmt: skip
        yield _gauge(
            "captionloop_champion_since_seconds", "When it became that, in Unix time.", ["project"],
            [
                ((numbers[project.id],), project.champion_since.timestamp())
                for project in with_champion
                if project.champion_since
            ],
        )  # fmt: skip

    def _in_redis(self) -> Iterator[Metric]:
        yield _gauge(
            "captionloop_queue_jobs", "Jobs that wait for a worker.", ["queue"],
            [((name,), length) for name, length in self._queue.lengths().items()],
        )  # fmt: skip
        yield _gauge("captionloop_workers", "Workers that listen.", [], [((), len(self._queue.workers()))])


def _gauge(name: str, help: str, labels: list[str], values: list[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(name, help, labels=labels)
    for names, value in values:
        family.add_metric(names, value)
    return family
