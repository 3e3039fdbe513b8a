"""Secrets that can be told from anything else are planted everywhere, and everything is made to happen: real processes,
a real Redis and PostgreSQL with passwords, a Label Studio that refuses. Then whatever came out of it is searched."""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from redis import Redis
from sqlalchemy import create_engine, make_url, text

from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.backend.local.ports import free_port
from captionloop.backend.projects.webhook_secret import SECRET_HEADER
from captionloop.home import Home, write_atomically
from captionloop.model.database import Database, Project, RunState
from captionloop.seal import Seal
from captionloop.settings import Secret
from tests.support.modes import open_to_others
from tests.support.pictures import picture
from tests.support.postgres import empty_database
from tests.support.servers import RedisServer, descendants, running_redis
from tests.support.versions import FinishedRun, finished_run

pytestmark = pytest.mark.slow

CLI = (sys.executable, "-c", "from captionloop.backend.cli import main; main()")
USER, PROJECT = "lead", 1
_JSON = {"Content-Type": "application/json"}
PLANTED = {
    name: f"planted{name.replace(' ', '')}9d41c7"
    for name in ("token", "password", "reader password", "database password", "redis password", "webhook secret")
}
# What encrypts, and what signs cookies, are bytes in base64.
PLANTED["key"] = base64.b64encode(b"planted key of 32 bytes 9d41c7ab").decode()
PLANTED["session key"] = "planted session key 9d41c7"
_USUAL_UMASK = 0o022  # with which other users may read what nobody took care of
_POLL_INTERVAL_S = 0.2


@contextmanager
def refusing_label_studio() -> Iterator[str]:
    """Takes no token, and is there."""

    class Handler(BaseHTTPRequestHandler):
        def _refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_health = self.path == "/health"
            body = json.dumps({"status": "UP"} if is_health else {"detail": "Invalid token."}).encode()
            self.send_response(200 if is_health else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = _refuse  # noqa: N815 (the names that its base looks for)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Scene:
    """Processes with planted secrets, and all that came out of them."""

    directory: Path
    environment: dict[str, str]
    url: str
    finished: FinishedRun
    database: Database
    answers: list[bytes] = field(default_factory=list)
    printed: dict[str, bytes] = field(default_factory=dict)
    arguments: set[bytes] = field(default_factory=set)
    said_to_redis: list[bytes] = field(default_factory=list)
    exported: bytes = b""

    def starts(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        with (self.directory / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                (*CLI, *command),
                env=self.environment,
                cwd=self.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                umask=_USUAL_UMASK,
            )

    def does(self, *command: str) -> None:
        """A command to its end, however that is."""
        done = subprocess.run(
            (*CLI, *command), env=self.environment, cwd=self.directory, capture_output=True, umask=_USUAL_UMASK
        )
        self.printed[" ".join(command)] = done.stdout + done.stderr

    def asks(self, method: str, path: str, **request: Any) -> httpx.Response:
        request.setdefault("auth", (USER, PLANTED["password"]))
        answer = httpx.request(method, self.url + path, timeout=60, trust_env=False, **request)
        self.answers.append(f"{path} {answer.status_code} {dict(answer.headers)}".encode() + answer.content)
        return answer

    def visits(self, *paths: str, send: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """Pages, as the lead sees them after the form, and forms that are sent there."""
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as browser:
            form = {"user": USER, "password": PLANTED["password"], "csrf_token": token_in(browser.get("/login"))}
            assert browser.post("/login", data=form).status_code == 302
            token = token_in(browser.get("/", follow_redirects=True))
            for path, fields in (send or {}).items():
                answer = browser.post(path, data={**fields, "csrf_token": token})
                assert answer.status_code == 302, answer.text
            for path in paths:
                answer = browser.get(path, follow_redirects=True)
                self.answers.append(f"{path} {answer.status_code}".encode() + answer.content)
                if path.endswith("/export"):
                    assert answer.status_code == 200
                    self.exported = answer.content

    def waits_for_runs(self, worker: "subprocess.Popen[bytes]", *, within_s: float = 120) -> None:
        deadline = time.monotonic() + within_s
        while self.unfinished():
            self.look_at_arguments(worker.pid)
            assert time.monotonic() < deadline, (self.directory / "worker.log").read_text()
            time.sleep(_POLL_INTERVAL_S)

    def unfinished(self) -> list[str]:
        over = [state.value for state in RunState if state.is_over]
        with self.database.reading() as session:
            found = session.execute(text("SELECT id, state FROM run")).all()
        return [run for run, state in found if state not in over]

    def look_at_arguments(self, pid: int) -> None:
        for process in [pid, *descendants(pid)]:
            try:
                self.arguments.add(Path(f"/proc/{process}/cmdline").read_bytes())
            except OSError:  # it has just ended
                continue

    def logs(self) -> dict[str, bytes]:
        found = [*self.directory.glob("*.log"), *(self.directory / "home" / "logs").glob("*")]
        return {path.name: path.read_bytes() for path in found}


def until_answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            httpx.get(f"{url}/health", timeout=5, trust_env=False)
            return
        except httpx.HTTPError:
            time.sleep(0.2)


def token_in(page: httpx.Response) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


@contextmanager
def ending(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def overheard(server: RedisServer, password: str, said: list[bytes]) -> Iterator[None]:
    """Everything that is sent to this Redis meanwhile, in its own spelling."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.socket))
        connection.sendall(f"AUTH {password}\r\nMONITOR\r\n".encode())

        def listen() -> None:
            while piece := connection.recv(1 << 16):
                said.append(piece)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield
        finally:
            connection.shutdown(socket.SHUT_RDWR)
            thread.join()


def arguments_of(said: bytes) -> Iterator[bytes]:
    """The words of what was sent to Redis, those that RQ compresses unpacked."""
    for word in re.findall(rb'"((?:[^"\\]|\\.)*)"', said):
        raw = word.decode("latin-1").encode().decode("unicode_escape").encode("latin-1")
        with suppress(zlib.error):
            raw = zlib.decompress(raw)
        yield raw


@pytest.fixture(scope="module")
def scene(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("planted")
    home = Home(directory / "home")
    home.create()
    port = free_port()
    with ExitStack() as stack:
        plain = make_url(stack.enter_context(empty_database(postgres_server)))
        database_url = plain.set(password=PLANTED["database password"]).render_as_string(hide_password=False)
        redis = stack.enter_context(running_redis())
        with Redis.from_url(redis.url) as client:
            client.config_set("requirepass", PLANTED["redis password"])
        redis_url = f"{redis.url}?password={PLANTED['redis password']}"
        label_studio = stack.enter_context(refusing_label_studio())
        database = Database(database_url)
        stack.callback(database.close)
        database.migrate()
        before = os.umask(0o077)  # as the command has it, which here is the process of the test
        finished = finished_run(database, home, directory / "made")
        os.umask(before)
        with database.session() as session:
            project = session.get_one(Project, finished.project.id)
            project.label_config = SAMPLE_LABEL_CONFIG
            project.webhook_secret = Seal(home, Secret(PLANTED["key"])).encrypt(PLANTED["webhook secret"])
        session_key = Seal(home, Secret(PLANTED["key"])).encrypt(PLANTED["session key"])
        write_atomically(home.session_key, session_key.encode())
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("CAPTIONLOOP_", "LABEL_STUDIO_"))
        }
        environment |= {
            "CAPTIONLOOP_HOME": str(home.root),
            "CAPTIONLOOP_MODEL": finished.base.source,
            "CAPTIONLOOP_PORT": str(port),
            "CAPTIONLOOP_SERVER": "local",
            "CAPTIONLOOP_USER": USER,
            "CAPTIONLOOP_PASSWORD": PLANTED["password"],
            "CAPTIONLOOP_KEY": PLANTED["key"],
            "CAPTIONLOOP_READER_PASSWORD": PLANTED["reader password"],
            "CAPTIONLOOP_DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "LABEL_STUDIO_URL": label_studio,
            "LABEL_STUDIO_API_KEY": PLANTED["token"],
        }
        made = Scene(directory, environment, f"http://127.0.0.1:{port}", finished, database)
        with overheard(redis, PLANTED["redis password"], made.said_to_redis):
            _play(made)
        yield made


def _play(scene: Scene) -> None:
    """What people, Label Studio and monitors do in a day, and what goes wrong."""
    # `--debug` logs all that any library says.
    with (
        ending(scene.starts("backend", "--debug", "serve")) as backend,
        ending(scene.starts("worker", "--debug", "worker")) as worker,
    ):
        until_answers(scene.url, backend, scene.directory / "backend.log")
        version, base = scene.finished.version.version, scene.finished.base.name
        task = {"id": 1, "data": {"image": picture("red")}}
        lost = {"id": 2, "data": {"image": "/data/upload/1/gone.png"}}
        body = {"project": str(PROJECT), "label_config": SAMPLE_LABEL_CONFIG, "tasks": [task, lost]}
        assert scene.asks("POST", "/predict", json=body).status_code == 200
        assert scene.asks("POST", "/setup", json={"project": str(PROJECT), "schema": SAMPLE_LABEL_CONFIG}).is_success
        assert scene.asks("POST", "/predict", content=b"{", headers=_JSON).status_code == 400
        assert scene.asks("POST", "/predict", json=body, auth=(USER, PLANTED["token"])).status_code == 401
        event = {"action": "ANNOTATION_CREATED", "project": {"id": PROJECT}}
        secret = {SECRET_HEADER: PLANTED["webhook secret"]}
        assert scene.asks("POST", "/webhook", json=event, headers=secret, auth=None).status_code == 200
        wrong = {SECRET_HEADER: "x" + PLANTED["webhook secret"]}
        assert scene.asks("POST", "/webhook", json=event, headers=wrong, auth=None).status_code == 403
        training = {"action": "START_TRAINING", "project": {"id": PROJECT}}
        assert scene.asks("POST", "/webhook", json=training).status_code == 201
        pages = [f"/projects/{PROJECT}/{page}" for page in ("", "review", "compare", "versions", "runs", "dataset")]
        comparison = {"first": base, "second": version}
        scene.visits(send={f"/projects/{PROJECT}/compare": comparison})
        scene.visits(
            *pages, f"/projects/{PROJECT}/settings", f"/projects/{PROJECT}/runs/new", "/nowhere", "/projects/9/"
        )
        scene.visits(f"/projects/{PROJECT}/versions/{version}", f"/projects/{PROJECT}/versions/{version}/report")
        scene.visits(f"/projects/{PROJECT}/versions/{version}/export", f"/projects/{PROJECT}/health")
        for path in ("overview", "health", "runs", "versions", "settings", "corrections", "dataset"):
            scene.asks("GET", f"/api/v1/projects/{PROJECT}/{path}")
        scene.asks("GET", f"/api/v1/projects/{PROJECT}/comparison", params=comparison)
        scene.asks("POST", f"/api/v1/projects/{PROJECT}/sync")
        scene.waits_for_runs(worker)
        for path in ("/metrics", "/ready"):
            scene.asks("GET", path, auth=("reader", PLANTED["reader password"]))
        scene.look_at_arguments(backend.pid)
        scene.look_at_arguments(worker.pid)
        scene.does("status", "--json")
        scene.does("doctor", "--json")
        scene.does("--debug", "sync")
        scene.does("connect", "--project", str(PROJECT))
        scene.does("backup", str(scene.directory / "backup.tar"))
        _let_redis_refuse(scene)


def _let_redis_refuse(scene: Scene) -> None:
    """What is said where Redis takes the password no longer."""
    with Redis.from_url(scene.environment["REDIS_URL"]) as client:
        client.config_set("requirepass", "another one")
        client.client_kill_filter(skipme=True)
    scene.asks("POST", f"/api/v1/projects/{PROJECT}/sync")
    scene.asks("POST", "/webhook", json={"action": "START_TRAINING", "project": {"id": PROJECT}})
    scene.asks("GET", "/ready", auth=("reader", PLANTED["reader password"]))
    scene.visits(f"/projects/{PROJECT}/", f"/projects/{PROJECT}/health")


def spellings(secret: str) -> list[bytes]:
    """How a secret may stand somewhere."""
    raw = secret.encode()
    return [raw, base64.b64encode(raw), base64.b64encode(f"{USER}:{secret}".encode()), quote(secret).encode()]


def found_in(texts: Mapping[str, bytes]) -> list[str]:
    """Which secrets stand where."""
    return [
        f"{name} in {where}: …{content[max(place - 100, 0) : place + 60]!r}"
        for where, content in texts.items()
        for name, secret in PLANTED.items()
        for spelling in spellings(secret)
        if (place := content.find(spelling)) >= 0
    ]


def test_no_secret_is_in_a_log_even_with_debug(scene: Scene) -> None:
    logs = scene.logs()
    assert b"does not accept the access token" in logs["worker.log"]  # the sync and the run were refused
    assert b"POST /predict" in logs["backend.log"]
    assert found_in(logs) == []


def test_no_secret_is_in_the_arguments_of_a_process(scene: Scene) -> None:
    assert any(b"worker" in line for line in scene.arguments)
    assert found_in({"arguments": b"\n".join(scene.arguments)}) == []


def test_no_secret_was_ever_sent_to_redis(scene: Scene) -> None:
    said = list(arguments_of(b"".join(scene.said_to_redis)))
    for job in (b"captionloop.jobs.entry.finetune", b"captionloop.jobs.entry.sync"):
        assert any(word.startswith(b'["' + job) for word in said)  # its data, unpacked
    assert found_in({"Redis": b"\n".join(said)}) == []


def test_no_secret_is_in_an_answer(scene: Scene) -> None:
    assert any(b"503" in answer[:200] for answer in scene.answers)  # when Redis refused
    assert found_in({answer[:80].decode(errors="replace"): answer for answer in scene.answers}) == []


def test_no_secret_is_printed_by_a_command(scene: Scene) -> None:
    assert all(scene.printed.values())
    assert found_in(scene.printed) == []


def test_no_secret_is_in_an_exported_version(scene: Scene) -> None:
    assert b"model.safetensors" in scene.exported
    assert found_in({"export": scene.exported}) == []


def test_no_secret_is_in_a_file_of_the_home(scene: Scene) -> None:
    files = {str(path): path.read_bytes() for path in (scene.directory / "home").rglob("*") if path.is_file()}
    assert found_in(files) == []


def test_no_secret_is_in_a_backup(scene: Scene) -> None:
    assert found_in({"backup": (scene.directory / "backup.tar").read_bytes()}) == []


def test_what_is_written_is_for_its_owner_alone(scene: Scene) -> None:
    home = Home(scene.directory / "home")
    comparison = home.comparison(scene.finished.project.id, scene.finished.base.name, scene.finished.version.version)
    assert comparison.exists()
    assert open_to_others(home.root) == []
    assert open_to_others(scene.directory / "backup.tar") == []


def test_no_secret_is_in_a_row_of_the_database(scene: Scene) -> None:
    engine = create_engine(scene.environment["CAPTIONLOOP_DATABASE_URL"])
    with engine.connect() as connection:
        tables = connection.execute(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        )
        rows = {
            name: b"\n".join(str(row).encode() for row in connection.execute(text(f'SELECT * FROM "{name}"')))
            for (name,) in tables.all()
        }
    engine.dispose()
    assert rows["project"]
    assert found_in(rows) == []
