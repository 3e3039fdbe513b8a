"""The Redis and the Label Studio that the suite starts, with the same code as `captionloop up`."""

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import httpx
import pytest

from captionloop.backend.local import label_studio_install, label_studio_server, label_studio_tables, redis_server
from captionloop.backend.local.ports import free_port
from captionloop.backend.local.processes import Process
from captionloop.settings import LABEL_STUDIO_VERSION, Secret, Settings
from tests.support.sharing import Facts, shared

# Both are read before a test cleans the environment.
CACHE = Settings.read({name: value for name, value in os.environ.items() if name == "CAPTIONLOOP_CACHE"}).cache
"""Where the suite keeps what takes minutes to make."""
STUDIO_VERSION = os.environ.get("CAPTIONLOOP_TEST_LABEL_STUDIO", LABEL_STUDIO_VERSION)
"""The Label Studio that the suite runs against."""


@dataclass(frozen=True)
class RedisServer:
    """A running Redis. Database 0 is for what lives as long as the suite, 1 is emptied before each test."""

    socket: Path

    @property
    def url(self) -> str:
        return redis_server.url(self.socket)

    @property
    def test_url(self) -> str:
        return f"{self.url}?db=1"


@dataclass(frozen=True)
class LabelStudioServer:
    """A running Label Studio with one account."""

    url: str
    email: str
    password: str
    token: str
    data: Path

    @classmethod
    def of(cls, facts: Facts) -> "LabelStudioServer":
        return cls(**facts | {"data": Path(facts["data"])})

    def facts(self) -> Facts:
        """What another process has to know about it."""
        return {field.name: str(getattr(self, field.name)) for field in fields(LabelStudioServer)}


@dataclass(frozen=True)
class OwnLabelStudio(LabelStudioServer):
    """One that a test has for itself, and may stop."""

    process: Process

    def start(self) -> None:
        """Also again after `stop` or `kill`."""
        self.process.start()
        label_studio_server.wait_until_ready(self.url, meanwhile=self.process.require_running)

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        _kill(self.process)


@contextmanager
def running_redis(binary: Path | None = None) -> Iterator[RedisServer]:
    """A server as `captionloop up` starts it: the embedded Valkey, or another `binary`."""
    # Not below pytest's own directory: its path may be too long for a unix socket.
    directory = Path(tempfile.mkdtemp(prefix="captionloop-test-"))
    socket = directory / "redis.sock"
    process = Process(redis_server.program(socket, binary=binary), log=directory / "redis.log")
    try:
        process.start()
        redis_server.wait_until_ready(redis_server.url(socket), meanwhile=process.require_running)
        yield RedisServer(socket)
    finally:
        process.stop()
        shutil.rmtree(directory, ignore_errors=True)


class OwnRedis:
    """A Redis of a test's own, which may be killed."""

    def __init__(self, directory: Path) -> None:
        self.url = redis_server.url(directory / "redis.sock")
        self._process = Process(redis_server.program(directory / "redis.sock"), log=directory / "redis.log")

    @classmethod
    @contextmanager
    def running(cls) -> Iterator["OwnRedis"]:
        with tempfile.TemporaryDirectory(prefix="captionloop-test-") as directory:
            own = cls(Path(directory))
            own.start()
            try:
                yield own
            finally:
                own.stop()

    def start(self) -> None:
        """Also again after `kill`; it is empty then."""
        self._process.start()
        redis_server.wait_until_ready(self.url, meanwhile=self._process.require_running)

    def kill(self) -> None:
        _kill(self._process)

    def stop(self) -> None:
        self._process.stop()

    @property
    def pids(self) -> list[int]:
        assert self._process.pid is not None
        return descendants(self._process.pid)


@contextmanager
def running_label_studio(directory: Path, *, cache: Path, laid_out: bool = True) -> Iterator[OwnLabelStudio]:
    """Label Studio with its data in `directory`, installed into `cache` first if need be.

    Args:
        laid_out: as `captionloop up` starts it; else it makes its tables itself, which takes most of a minute.
    """
    command = label_studio_install.install(cache, progress=lambda _: None, version=STUDIO_VERSION)
    login = label_studio_server.Login("tester@localhost", Secret("correct-horse-battery"), Secret("5" * 40))
    port, data = free_port(), directory / "data"
    if laid_out:
        label_studio_tables.lay_out(data, version=STUDIO_VERSION)
    program = label_studio_server.program(command, data=data, port=port, login=login)
    server = OwnLabelStudio(
        url=f"http://localhost:{port}",
        email=login.email,
        password=login.password.reveal(),
        token=login.token.reveal(),
        data=data,
        process=Process(program, log=directory / "label-studio.log"),
    )
    try:
        server.start()
        _allow_legacy_tokens(server)
        yield server
    finally:
        server.stop()


@contextmanager
def shared_label_studio(directory: Path, *, cache: Path) -> Iterator[LabelStudioServer]:
    """One for all processes of the suite, all of which name the same directory."""

    @contextmanager
    def start() -> Iterator[Facts]:
        with running_label_studio(directory, cache=cache) as server:
            yield server.facts()

    with shared(directory, start) as facts:
        yield LabelStudioServer.of(facts)


def _kill(process: Process) -> None:
    """SIGKILL to the program, but not to the guard that started it."""
    assert process.pid is not None
    (program,) = descendants(process.pid)
    os.kill(program, signal.SIGKILL)
    process.wait_until_stopped()


@contextmanager
def signed_in(server: LabelStudioServer) -> Iterator[httpx.Client]:
    """Label Studio as the pages of somebody who has signed in ask it."""
    with httpx.Client(base_url=server.url, headers={"Referer": server.url}) as browser:
        browser.get("/user/login/")
        form = {"email": server.email, "password": server.password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post("/user/login/", data=form)
        browser.headers["X-CSRFToken"] = browser.cookies["csrftoken"]
        yield browser


def personal_access_token(server: LabelStudioServer) -> str:
    """A personal access token of the account, which may have one only: the same for all processes of the suite."""
    with (server.data / "personal-access-token").open("a+") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        kept.seek(0)
        if not (token := kept.read()):
            token = _new_personal_access_token(server)
            kept.write(token)
        return token


def _new_personal_access_token(server: LabelStudioServer) -> str:
    """As a person makes one on the Account page."""
    with signed_in(server) as browser:
        answer = browser.get("/api/jwt/settings")
        if answer.status_code == 404 and STUDIO_VERSION != LABEL_STUDIO_VERSION:
            pytest.skip(f"Label Studio {STUDIO_VERSION} has no personal access tokens yet")
        if "api_tokens_enabled" in (settings := answer.json()):
            browser.post("/api/jwt/settings", json=settings | {"api_tokens_enabled": True})
        answer = browser.post("/api/token/")
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])


def _allow_legacy_tokens(server: LabelStudioServer) -> None:
    """What an owner does on the Organization page, for releases such as 1.17, where no variable does it."""
    headers = {"Authorization": f"Token {server.token}"}
    if httpx.get(f"{server.url}/api/current-user/whoami", headers=headers, timeout=60).status_code == 401:
        with signed_in(server) as browser:
            wanted = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
            browser.post("/api/jwt/settings", json=wanted).raise_for_status()


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, from /proc."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [pid]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]
