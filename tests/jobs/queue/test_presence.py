"""What backends and workers say of themselves, for people."""

import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from threading import Lock

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from tests.support.models import add_project

from captionloop.backend.local.ports import free_port
from captionloop.errors import BusyError
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.queue.attempt import WORKER_OF_RUN
from captionloop.jobs.queue.presence import BACKEND, WORKER, Presence, differences
from captionloop.jobs.worker.worker_metrics import WorkerCollector, serve_metrics
from captionloop.model.database import Database, Run, RunKind
from captionloop.settings import Settings


@pytest.fixture
def context(database: Database, home: Home, redis_url: str) -> Iterator[Context]:
    with closing(Context.open(Settings(home=home.root, redis_url=redis_url, server="local"))) as opened:
        yield opened


@pytest.fixture
def worker(context: Context) -> Presence:
    return Presence.of_this_process(WORKER, context.settings)


def test_each_process_is_listed_while_it_says_so(context: Context, worker: Presence, redis_url: str) -> None:
    backend = replace(worker, kind=BACKEND, host="a", pid=7)
    for process in (worker, backend):
        context.queue.say_present(process)
    assert context.queue.present() == [backend, worker]

    context.queue.say_absent(backend)

    assert context.queue.present() == [worker]
    with Redis.from_url(redis_url) as redis:
        assert 0 < int(redis.ttl(f"captionloop:process:{worker.id}")) <= 60  # by the clock of Redis alone


def test_one_with_other_settings_or_another_release_is_named_with_them(worker: Presence) -> None:
    others = [replace(worker, host=host) for host in "abc"]
    beams = replace(worker, host="d", settings={**worker.settings, "beams": 5})
    release = replace(worker, host="e", release="0.0.9")

    assert differences([*others, beams, release]) == {beams.id: {"beams": "5"}, release.id: {"release": "0.0.9"}}
    assert differences(others) == differences([]) == {}


def test_no_secret_is_said(context: Context, worker: Presence) -> None:
    assert set(worker.settings) <= {
        "model", "beams", "prompt", "gate", "server_name", "max_image_mb", "max_image_megapixels",
    }  # fmt: skip


def test_a_worker_tells_prometheus_of_its_queues_and_its_run_alone(
    context: Context, worker: Presence, database: Database
) -> None:
    port = free_port()
    serve_metrics(WorkerCollector(context, worker, ["captionloop-cpu"], Lock()), host="127.0.0.1", port=port)
    for number, of in ((7, worker.id), (8, "elsewhere:1")):
        project = add_project(database, number)
        run = context.queue.request(project.id, RunKind.FINETUNE, asked_by="test").run
        attempt = context.queue.runs.start(run.id)
        assert attempt is not None
        with database.session() as session:
            session.get_one(Run, run.id).detail = {WORKER_OF_RUN: of}
        attempt.report(0.5, stage="training", step=30, steps=60, examples_per_second=12.5)

    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    found = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    of_run = {name: value for (name, labels), value in found.items() if set(labels) == {"7", "finetune"}}
    assert of_run == {
        "captionloop_worker_run": 1, "captionloop_worker_step": 30, "captionloop_worker_steps": 60,
        "captionloop_worker_examples_per_second": 12.5,
    }  # fmt: skip
    assert not [labels for _, labels in found if "8" in labels]
    assert [labels for name, labels in found if name == "captionloop_worker_queue_jobs"] == [("captionloop-cpu",)]


def test_a_port_that_is_taken_is_named(context: Context, worker: Presence) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BusyError, match=f"metrics port {port}"):
            serve_metrics(WorkerCollector(context, worker, [], Lock()), host="127.0.0.1", port=port)
