"""`captionloop up` as a person runs it: a command in a terminal, ended with Ctrl-C."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.support.backend import Backend
from tests.support.modes import open_to_others
from tests.support.notebooks import printed_by
from tests.support.person import CLI, Person, newcomer
from tests.support.servers import descendants
from tools.notebooks import THE_LOOP

from captionloop.backend.local import services
from captionloop.backend.local.ports import is_free
from captionloop.backend.local.processes import sole_owner

pytestmark = pytest.mark.slow

_FIRST_START_WITHIN_S = 600
_RENEWED_WITHIN_S = 600
# On an idle machine. One that is busy with other things shows nothing about us.
_SECOND_START_WITHIN_S = 30
_SECOND_START_WITHIN_S_WHEN_BUSY = 240


def _second_start_within_s() -> float:
    is_idle = os.getloadavg()[0] <= (os.cpu_count() or 1)
    return _SECOND_START_WITHIN_S if is_idle else _SECOND_START_WITHIN_S_WHEN_BUSY


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Person:
    return newcomer(tmp_path_factory.mktemp("person"), cache=cache)


@dataclass
class Terminal:
    """Where the person types `captionloop up`, each time after the one before has ended."""

    person: Person
    up: "subprocess.Popen[bytes] | None" = None

    def starts(self, *, within_s: float) -> "subprocess.Popen[bytes]":
        self.up = self.person.starts()
        took = self.person.waits_until_ready(self.up, within_s=within_s)
        print(f"this start took {took:.0f} s")
        return self.up

    def running(self) -> "subprocess.Popen[bytes]":
        """The one that a test has left, else a new one; ready."""
        if self.up is not None and self.up.poll() is None:
            return self.up
        return self.starts(within_s=_FIRST_START_WITHIN_S)

    def ends(self) -> None:
        if self.up is not None and self.up.poll() is None:
            self.up.send_signal(signal.SIGINT)
            self.up.wait(60)


@pytest.fixture(scope="module")
def terminal(person: Person) -> Iterator[Terminal]:
    its = Terminal(person)
    try:
        yield its
    finally:
        its.ends()


@pytest.fixture
def running(terminal: Terminal) -> "subprocess.Popen[bytes]":
    """An `up` that is ready."""
    return terminal.running()


def test_status_tells_other_programs_how_to_reach_everything(
    person: Person, running: "subprocess.Popen[bytes]"
) -> None:
    status = person.asks("status")
    assert status["ready"] is True
    assert status["label_studio"]["url"] == f"http://localhost:{person.environment['CAPTIONLOOP_LABEL_STUDIO_PORT']}"
    assert status["backend"]["url"] == f"http://localhost:{person.environment['CAPTIONLOOP_PORT']}"
    assert status["label_studio"]["project_id"] == 1
    assert status["label_studio"]["ml_backend_id"] is not None
    assert status["champion"]
    assert status["redis_server"]["name"] == "Valkey"
    assert status["redis_server"]["embedded"] is True


def test_every_picture_of_the_sample_has_a_caption(person: Person, running: "subprocess.Popen[bytes]") -> None:
    studio = person.asks("status")["label_studio"]
    request = urllib.request.Request(
        f"{studio['url']}/api/projects/{studio['project_id']}/", headers={"Authorization": f"Token {studio['token']}"}
    )
    with urllib.request.urlopen(request) as answer:
        project = json.load(answer)
    assert project["task_number"] == 160
    assert project["total_predictions_number"] == 160


def test_the_last_screen_says_where_how_and_what_now(person: Person, running: "subprocess.Popen[bytes]") -> None:
    login = services.login(person.home)
    assert login is not None
    screen = person.screen()
    assert f"Open http://localhost:{person.environment['CAPTIONLOOP_LABEL_STUDIO_PORT']}/projects/1/data" in screen
    assert f"E-mail {login.email}   Password {login.password.reveal()}" in screen
    assert "What to do now" in screen
    assert "starter model, which knows only our drawn scenes" in screen


def test_the_doctor_finds_nothing(person: Person, running: "subprocess.Popen[bytes]") -> None:
    broken = [check for check in person.asks("doctor") if not check["ok"]]
    assert broken == []


def test_a_second_one_in_the_same_home_is_refused(person: Person, running: "subprocess.Popen[bytes]") -> None:
    second = subprocess.run((*CLI, "up"), env=person.environment, cwd=person.directory, capture_output=True, text=True)
    assert second.returncode == 5
    assert f"already running in {person.home.root} (process {running.pid})" in second.stderr


def test_a_taken_port_is_named_with_its_variable(
    person: Person, running: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    environment = person.environment | {"CAPTIONLOOP_HOME": str(tmp_path / "another")}
    second = subprocess.run((*CLI, "up"), env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert second.returncode == 5
    assert f"Port {environment['CAPTIONLOOP_LABEL_STUDIO_PORT']} for Label Studio is taken" in second.stderr
    assert "CAPTIONLOOP_LABEL_STUDIO_PORT=" in second.stderr


def test_a_label_studio_of_ones_own_that_a_proxy_keeps_away_is_told_with_that(tmp_path: Path, cache: Path) -> None:
    person = newcomer(tmp_path, cache=cache)
    given = {"LABEL_STUDIO_URL": "http://studio.test", "LABEL_STUDIO_API_KEY": "x", "http_proxy": "http://127.0.0.1:9"}
    ended = subprocess.run(
        (*CLI, "up"), env=person.environment | given, cwd=person.directory, capture_output=True, text=True
    )
    assert ended.returncode == 3
    assert "through the proxy http://127.0.0.1:9 (http_proxy)" in ended.stderr


def test_files_in_the_home_are_for_its_owner_alone(person: Person, running: "subprocess.Popen[bytes]") -> None:
    person.does("sync")
    assert (person.home.label_studio / "label_studio.sqlite3").exists()
    assert list(person.home.logs.iterdir())
    assert open_to_others(person.home.root) == []


def test_no_secret_is_in_any_processs_arguments(person: Person, running: "subprocess.Popen[bytes]") -> None:
    login, password = services.login(person.home), services.backend_password(person.home)
    assert login is not None
    assert password is not None
    values = [secret.reveal() for secret in (login.password, login.token, password)]
    for pid in descendants(running.pid):
        arguments = Path(f"/proc/{pid}/cmdline").read_text()
        assert not any(value in arguments for value in values)


def test_the_loop_is_gone_around_in_a_notebook(
    person: Person, running: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    printed = printed_by(THE_LOOP, tmp_path / "empty", person.environment)
    assert "40 corrections are kept" in printed
    assert "is the champion now" in printed

    status = person.asks("status")
    backend, project = status["backend"], status["label_studio"]["project_id"]
    address = f"{backend['url']}/api/v1/projects/{project}"
    with httpx.Client(base_url=address, auth=(backend["user"], backend["password"])) as client:
        Backend(client).waits_until_idle(within_s=_RENEWED_WITHIN_S)  # no test after it meets what it has begun


@pytest.mark.faults
def test_a_killed_worker_and_backend_come_back(person: Person, running: "subprocess.Popen[bytes]") -> None:
    guards = json.loads(person.home.services.read_text())["processes"]
    for name in ("worker", "backend"):
        (child,) = [pid for pid in descendants(guards[name]) if _parent(pid) == guards[name]]
        os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while f"started again in 1 s. Its log: {person.home.logs}/worker.log" not in person.screen() or any(
        not check["ok"] for check in person.asks("doctor")
    ):
        assert time.monotonic() < deadline, person.asks("doctor")
        time.sleep(1)


@pytest.mark.faults
def test_ctrl_c_ends_every_process_and_the_next_start_finds_all_data(
    person: Person, terminal: Terminal, running: "subprocess.Popen[bytes]"
) -> None:
    before = person.asks("status")
    family = descendants(running.pid)
    assert len(family) >= 8  # Redis, Label Studio, the backend, the worker, and a guard for each

    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 0
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]
    assert is_free(int(person.environment["CAPTIONLOOP_PORT"]))
    assert is_free(int(person.environment["CAPTIONLOOP_LABEL_STUDIO_PORT"]))
    assert person.asks("status")["ready"] is False

    terminal.starts(within_s=_second_start_within_s())
    after = person.asks("status")
    assert after["label_studio"]["project_id"] == before["label_studio"]["project_id"]
    assert after["label_studio"]["ml_backend_id"] == before["label_studio"]["ml_backend_id"]
    assert after["champion"] == before["champion"]


@pytest.mark.faults
def test_a_killed_up_leaves_nothing_behind_and_the_next_one_starts(
    person: Person, terminal: Terminal, running: "subprocess.Popen[bytes]"
) -> None:
    family = descendants(running.pid)
    running.kill()
    running.wait()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in family):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with sole_owner(person.home):  # the lock went with its holder
        pass
    second = terminal.starts(within_s=_second_start_within_s())
    second.terminate()
    assert second.wait(60) == 0
    assert "The last run did not end properly" in person.screen()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
