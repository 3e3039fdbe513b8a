"""A worker's own metrics, on a port of its own, for Prometheus."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import select

from captionloop.errors import BusyError, ServiceError
from captionloop.jobs.context import Context
from captionloop.jobs.queue.attempt import WORKER_OF_RUN
from captionloop.jobs.queue.presence import Presence, nvidia
from captionloop.model.database import Project, Run, RunState

_MIB = 2**20


class WorkerCollector(Collector):
    """The queues that a worker takes from, its present run, and the memory of its GPUs."""

    def __init__(
        self, context: Context, this: Presence, queues: Sequence[str], in_database: AbstractContextManager[object]
    ) -> None:
        """
        Args:
            in_database: held while the database is asked, since jobs are forked meanwhile.
        """
        self._context = context
        self._this = this
        self._queues = queues
        self._in_database = in_database

    def describe(self) -> list[Metric]:
        """Empty, so that nothing is asked at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        this = self._this
        info = GaugeMetricFamily(
            "captionloop_worker_info", "The worker whose figures these are.",
            labels=["version", "host", "pid", "computes_on"],
        )  # fmt: skip
        info.add_metric([this.release, this.host, str(this.pid), this.computes_on], 1)
        yield info
        with suppress(ServiceError):  # a gap in a curve is true, a 0 is not
            yield from list(self._waiting())
        with suppress(ServiceError):
            yield from list(self._present_run())
        yield from self._gpu_memory()

    def _waiting(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "captionloop_worker_queue_jobs", "Jobs that wait in the queues that this worker takes from.",
            labels=["queue"],
        )  # fmt: skip
        for name, length in self._context.queue.lengths().items():
            if name in self._queues:
                family.add_metric([name], length)
        yield family

    def _present_run(self) -> Iterator[Metric]:
        running = list(self._runs())
        for name, key, help in (
            ("step", "step", "The step that the present training is at."),
            ("steps", "steps", "The steps that the present training will have."),
            ("examples_per_second", "examples_per_second", "Captions a second that the present training learns from."),
        ):
            family = GaugeMetricFamily(f"captionloop_worker_{name}", help, labels=["project", "kind"])
            for project, run in running:
                if key in run.detail:
                    family.add_metric([str(project), run.kind.value], float(run.detail[key]))
            yield family
        busy = GaugeMetricFamily("captionloop_worker_run", "1 for the present run.", labels=["project", "kind"])
        for project, run in running:
            busy.add_metric([str(project), run.kind.value], 1)
        yield busy

    def _runs(self) -> Iterator[tuple[int, Run]]:
        both = select(Project.label_studio_id, Run).join(Run, Run.project_id == Project.id)
        chosen = both.where(Run.state == RunState.RUNNING)
        with self._in_database, self._context.database.reading() as session:
            for project, run in session.execute(chosen):
                if run.detail.get(WORKER_OF_RUN) == self._this.id:
                    yield project, run

    def _gpu_memory(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "captionloop_worker_gpu_memory_bytes", "Memory in use on each GPU, by all programs.", labels=["gpu"]
        )
        for number, used in enumerate(nvidia("memory.used") if self._this.computes_on != "cpu" else ()):
            family.add_metric([str(number)], float(used.split()[0]) * _MIB)
        yield family


def serve_metrics(collector: WorkerCollector, *, host: str, port: int) -> None:
    """Answer Prometheus from a thread, until the process ends.

    Raises:
        BusyError: the address cannot be listened on.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(collector)
    try:
        start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise BusyError(f"The metrics port {port} of {host} cannot be used ({error}). Give another one.") from error
