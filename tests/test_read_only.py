"""Backend and worker where only the home and a temporary directory can be written, as in the container: a read-only
root file system, no capabilities, no way to new privileges."""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.backend.local.ports import free_port
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.model.database import Database, Project, RunKind, RunState
from captionloop.settings import Settings
from tests.support.person import CLI
from tests.support.pictures import picture
from tests.support.versions import FinishedRun, finished_run

pytestmark = pytest.mark.slow

_ISOLATE = ("unshare", "--mount", "--map-root-user", "--propagation", "private", "sh", "-ec")
_WITHIN_S = 180
AUTH = ("lead", "right")


def _can_be_tried() -> bool:
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    return subprocess.run((*_ISOLATE, "mount -o remount,bind,ro /"), capture_output=True).returncode == 0


@contextmanager
def contained(command: str, home: Home, scratch: Path, environment: dict[str, str]) -> Iterator[Path]:
    """A command of ours with nothing to write to but the home and `scratch`; its log."""
    paths = [shlex.quote(str(path)) for path in (home.root, scratch)]
    steps = [
        *(f"mount --bind {path} {path}" for path in paths),
        "mount -o remount,bind,ro /",
        f"cd {paths[0]}",
        f"! touch {shlex.quote(__file__)} 2>/dev/null",  # it cannot
        f"exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all {shlex.join((*CLI, command))}",
    ]
    log = scratch / f"{command}.log"
    with log.open("wb") as file:
        process = subprocess.Popen((*_ISOLATE, " && ".join(steps)), env=environment, stdout=file, stderr=file)
    try:
        yield log
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(not _can_be_tried(), reason="no mount namespaces of one's own here")
def test_backend_and_worker_write_to_the_home_alone(
    home: Home, database: Database, redis_url: str, tmp_path: Path
) -> None:
    finished: FinishedRun = finished_run(database, home, tmp_path / "made")
    with database.session() as session:
        session.get_one(Project, finished.project.id).label_config = SAMPLE_LABEL_CONFIG
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    port = free_port()
    settings = {
        "CAPTIONLOOP_HOME": str(home.root), "CAPTIONLOOP_MODEL": finished.base.source, "CAPTIONLOOP_PORT": str(port),
        "CAPTIONLOOP_SERVER": "local", "CAPTIONLOOP_USER": AUTH[0], "CAPTIONLOOP_PASSWORD": AUTH[1],
        "REDIS_URL": redis_url, "LABEL_STUDIO_URL": "http://localhost:9", "LABEL_STUDIO_API_KEY": "5" * 40,
    }  # fmt: skip
    environment = {**os.environ, **settings, "TMPDIR": str(scratch), "HF_HOME": str(home.root / "huggingface")}
    pair = [finished.base.name, finished.version.version]
    context = Context.open(Settings.read(settings))
    try:
        with (
            contained("serve", home, scratch, environment) as log,
            contained("worker", home, scratch, environment) as worker_log,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=AUTH, timeout=_WITHIN_S, trust_env=False) as client,
        ):
            _until_ready(client, log)
            task = {"id": 1, "data": {"image": picture("red")}}
            body = {"project": "1", "label_config": SAMPLE_LABEL_CONFIG, "tasks": [task]}
            (suggestion,) = client.post("/predict", json=body).raise_for_status().json()["results"]
            run = context.queue.request(
                finished.project.id, RunKind.COMPARE, asked_by="test", settings={"pairs": [pair]}
            ).run
            deadline = time.monotonic() + _WITHIN_S
            while not run.state.is_over:
                assert time.monotonic() < deadline, worker_log.read_text()
                time.sleep(0.2)
                run = context.queue.runs.get(run.id) or run
        said = log.read_text() + worker_log.read_text()
    finally:
        context.close()

    assert suggestion["result"]
    assert (run.state, run.message.startswith("Compared")) == (RunState.FINISHED, True), run.message
    assert "Read-only file system" not in said


def _until_ready(client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while True:
        try:
            client.get("/ready").raise_for_status()
            return
        except httpx.HTTPError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
