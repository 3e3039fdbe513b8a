"""Fixtures for the whole suite. Nothing here is a stand-in: Redis, Label Studio and the browser are real."""

import gc
import os
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Read by huggingface_hub when it is first imported: no test may download a model.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent.parent))  # for `from tests.support import …`

from captionloop.home import Home
from captionloop.model.database import Database
from tests.support.browser import ARGUMENTS, NO_BROWSER, NoBrowserError, find_or_install
from tests.support.postgres import empty_database, running_postgres
from tests.support.servers import (
    CACHE,
    STUDIO_VERSION,
    LabelStudioServer,
    RedisServer,
    running_redis,
    shared_label_studio,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.support.versions import FinishedRun

_OURS = ("CAPTIONLOOP_", "LABEL_STUDIO_")
_BROWSER_TIMEOUT_MS = 30_000
_E2E = Path(__file__).parent / "e2e"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the person who runs the tests reaches one, and no test touches that person's home."""
    for name in os.environ:
        if name.startswith(_OURS) or name == "REDIS_URL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAPTIONLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CAPTIONLOOP_CACHE", str(CACHE))
    monkeypatch.chdir(tmp_path)  # a `.env` is read from the current directory


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """Other users may read what nobody took care of; a command that a test runs changes that for this test alone."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with all tables and no rows."""
    path = tmp_path_factory.mktemp("database") / "migrated.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture
def database(migrated: Path, home: Home) -> Iterator[Database]:
    """A fresh database with all its tables, where `Settings` would look for it."""
    shutil.copy(migrated, home.database)
    opened = Database(f"sqlite:///{home.database}")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def _finished(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> "tuple[FinishedRun, Home]":
    """A finished run and its home, made once."""
    from tests.support.versions import finished_home  # imports torch, which many tests can do without

    return finished_home(tmp_path_factory.mktemp("finished"), migrated)


@pytest.fixture
def finished(_finished: "tuple[FinishedRun, Home]", database: Database, home: Home) -> "FinishedRun":
    """A project with corrections and a fine-tuned version, copied into the test's own home and database."""
    from tests.support.versions import copied

    return copied(*_finished, home, database)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of the suite's PostgreSQL, in which each test makes a database of its own."""
    with running_postgres() as address:
        yield address


@pytest.fixture(scope="session")
def _migrated_on_postgres(postgres_server: str) -> Iterator[str]:
    """The name of a PostgreSQL database with all tables and no rows."""
    with empty_database(postgres_server) as address:
        database = Database(address)
        database.migrate()
        database.close()
        yield str(database.engine.url.database)


@pytest.fixture
def postgres_url(postgres_server: str, _migrated_on_postgres: str) -> Iterator[str]:
    """The address of a fresh PostgreSQL database with all its tables."""
    with empty_database(postgres_server, like=_migrated_on_postgres) as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def either_url(request: pytest.FixtureRequest, home: Home) -> str:
    """The address of a fresh database with all its tables: the test is done on both kinds."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    shutil.copy(request.getfixturevalue("migrated"), home.database)
    return f"sqlite:///{home.database}"


@pytest.fixture
def either_database(either_url: str) -> Iterator[Database]:
    """A fresh database with all its tables, of both kinds."""
    opened = Database(either_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The suite's Redis, never emptied; its database 1 belongs to `redis_url`."""
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty Redis database."""
    return _emptied(redis_server)


@pytest.fixture(scope="session")
def own_redis_server() -> Iterator[RedisServer]:
    """The redis-server on the PATH, as somebody's own; where there is none, its tests are skipped."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on the PATH")
    with running_redis(Path(binary)) as server:
        yield server


@pytest.fixture(params=["redis_server", "own_redis_server"], ids=["embedded Valkey", "Redis"])
def either_redis_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database: the test is done on the embedded Valkey and on a Redis."""
    return _emptied(request.getfixturevalue(request.param))


def _emptied(server: RedisServer) -> str:
    from redis import Redis

    with Redis.from_url(server.test_url) as client:
        client.flushdb()  # ours alone, since the suite started this server
    return server.test_url


@pytest.fixture(scope="session")
def cache() -> Path:
    """Where Label Studio's virtual environment lives, from one run of the suite to the next."""
    return CACHE


@pytest.fixture(scope="session")
def label_studio_server(
    tmp_path_factory: pytest.TempPathFactory, cache: Path, request: pytest.FixtureRequest
) -> Iterator[LabelStudioServer]:
    """A real Label Studio, started once for all processes of the suite.

    Make a project of your own in it, for it holds those of other tests, and never stop it: `running_label_studio` gives
    a test one of its own.
    """
    from captionloop.backend.local.label_studio_install import is_installed

    if not is_installed(cache, STUDIO_VERSION):
        _tell(request.config, f"\nInstalling Label Studio {STUDIO_VERSION}, which takes a few minutes, once …")
    with shared_label_studio(_of_all_processes(tmp_path_factory) / "label-studio", cache=cache) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """A Chromium or Chrome. Where none can be had the test is skipped, and with CI=true it fails."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_BROWSER_TIMEOUT_MS)  # its own 5 s are a speed that a busy machine does not have
    with sync_playwright() as playwright:
        try:
            path = find_or_install(playwright.chromium)
        except NoBrowserError as error:
            give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            give_up(f"{NO_BROWSER}: {error}")
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A tab of its own, without anybody's cookies, of the size that the issues talk about."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    context.set_default_timeout(_BROWSER_TIMEOUT_MS)
    yield context.new_page()
    context.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by the real parts they use, so that `-m "not label_studio"` leaves out what is slow to start."""
    for item in items:
        used = getattr(item, "fixturenames", ())
        if "label_studio_server" in used:
            item.add_marker(pytest.mark.label_studio)
        if "browser" in used:
            item.add_marker(pytest.mark.browser)
    if hasattr(config, "workerinput"):  # one of several processes: what takes longest begins
        slow = {
            item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("label_studio")
        }
        items.sort(key=lambda item: 0 if _E2E in item.path.parents else 1 if item.path in slow else 2)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What is collected stays, so that no garbage is looked for meanwhile."""
    gc.disable()
    result = yield
    gc.enable()
    _let_rest()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    yield
    if nextitem is None or nextitem.path != item.path:
        _let_rest()


def _let_rest() -> None:
    """Take what is there now for what lasts: else each full collection of garbage looks at a million objects again.

    Modules, tests and caches are most of them. Those collections took a sixth of the time of all fast tests.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What tests of odd texts print may be no text that can be sent from one process to another."""
    report = yield
    report.sections = [(title, _sendable(text)) for title, text in report.sections]
    if report.longrepr is not None and (said := str(report.longrepr)) != _sendable(said):
        report.longrepr = _sendable(said)
    return report


def _sendable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share files among processes, but for the stories, which work in what the ones before have left."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = config.rootpath / nodeid.partition("::")[0]
            return str(_E2E if _E2E in path.parents else path)

    return Files(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that had no browser: pytest's own summary folds them into one line."""
    names = [
        report.nodeid for report in terminalreporter.stats.get("skipped", []) if NO_BROWSER in str(report.longrepr)
    ]
    if names:
        terminalreporter.section("skipped for want of a browser")
        for name in names:
            terminalreporter.write_line(name)


def _of_all_processes(factory: pytest.TempPathFactory) -> Path:
    """A directory that all processes of this run of the suite know, and no other run."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def _tell(config: pytest.Config, text: str) -> None:
    """Say something now, although pytest keeps back what tests print."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(text, file=sys.stderr, flush=True)  # a process of several has no stdout
