"""The database is held by somebody else for half a minute, or is yesterday's."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support.agreement import broken_versions, disagreements
from tests.support.loop import Loop, opened_loop
from tests.support.models import add_project
from tests.support.postgres import another_database
from tests.support.servers import LabelStudioServer

from captionloop.errors import ServiceError
from captionloop.home import Home
from captionloop.jobs.project.sync import sync
from captionloop.jobs.queue.runs import Runs
from captionloop.model.backup.archive import make_backup, restore_backup
from captionloop.model.database import Database, RunKind

pytestmark = pytest.mark.faults

_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
)


@contextmanager
def locked(database: Database, *, for_s: float) -> Iterator[None]:
    """Another program holds the database, from before the block for so many seconds."""
    held = threading.Event()

    def hold() -> None:
        with closing(Database(database.url)) as other, other.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.connection.cursor().execute("BEGIN IMMEDIATE")
            else:
                connection.execute(text("LOCK TABLE run, project, correction IN ACCESS EXCLUSIVE MODE"))
            held.set()
            time.sleep(for_s)
            connection.rollback()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    try:
        yield
    finally:
        holder.join()


ON_BOTH = pytest.mark.parametrize(
    "either_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.heavy)], indirect=True
)


@ON_BOTH
@pytest.mark.slow
def test_what_is_written_while_the_database_is_locked_for_half_a_minute_is_written_then(
    either_database: Database,
) -> None:
    project = add_project(either_database)
    runs = Runs(either_database)
    with locked(either_database, for_s=30):
        requested = runs.request(project.id, RunKind.FINETUNE, asked_by="test")

    assert [run.id for run in runs.active()] == [requested.run.id]


def test_pages_are_read_while_sqlite_is_locked(database: Database) -> None:
    project = add_project(database)
    with locked(database, for_s=2):
        begun = time.monotonic()
        assert Runs(database).unfinished(project.id) == []
        assert time.monotonic() - begun < 1


def test_a_database_that_went_away_is_an_error_that_names_it_and_it_is_used_again_when_it_is_back(
    postgres_url: str,
) -> None:
    with closing(Database(postgres_url)) as database:
        database.migrate()
        project = add_project(database)
        with closing(Database(postgres_url)) as other, other.engine.connect() as connection:

            def lose_the_connection() -> None:
                with database.session() as session:
                    session.execute(text("SELECT 1"))
                    connection.execute(text(_END_OTHERS))
                    session.execute(text("SELECT 1"))

            with pytest.raises(ServiceError, match=r"The database postgresql.* cannot be used"):
                lose_the_connection()
        assert Runs(database).unfinished(project.id) == []


def test_a_database_that_keeps_all_connections_waiting_is_an_error_that_names_it(
    either_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(either_database.engine.pool, "_timeout", 0.1)  # of 30 s
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(either_database.engine.connect())
        with pytest.raises(ServiceError, match="keeps all connections waiting"):
            Runs(either_database).active()
    assert Runs(either_database).active() == []


@ON_BOTH
def test_a_sync_heals_a_database_that_was_restored_from_yesterdays_backup(
    label_studio_server: LabelStudioServer, either_url: str, home: Home, redis_url: str, tmp_path: Path
) -> None:
    archive = tmp_path / "yesterday.tar"

    def synced(loop: Loop) -> list[str]:
        sync(loop.context, loop.project.id)
        return disagreements(loop.context, loop.project)

    restored = Home(tmp_path / "restored")
    with (
        another_database(either_url, restored) as url,
        opened_loop(label_studio_server, home, redis_url, tmp_path, CAPTIONLOOP_DATABASE_URL=either_url) as loop,
    ):
        loop.add_annotations(6)
        assert synced(loop) == []
        make_backup(home, loop.context.database, archive)
        loop.add_annotations(6, since=6)
        loop.change_annotation("what the person wrote today")
        loop.delete_annotation()
        assert synced(loop) == []

        with closing(Database(url)) as into:
            restore_backup(archive, restored, into)
        with loop.at(restored, CAPTIONLOOP_DATABASE_URL=url) as later:
            assert len(disagreements(later.context, later.project)) == 8

            assert synced(later) == []
            assert broken_versions(later.context, later.project) == []
