import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.servers import STUDIO_VERSION, running_label_studio

from captionloop.backend.local import label_studio_tables
from captionloop.backend.local.label_studio_server import has_data
from captionloop.backend.local.label_studio_tables import DATABASE
from captionloop.settings import LABEL_STUDIO_VERSION

_ABOUT_PEOPLE = ("htx_user", "organization", "authtoken_token")
# What Label Studio puts into its tables while it makes them; when it did so is nobody's concern.
_PUT_IN = {
    "auth_permission": "*",
    "core_asyncmigrationstatus": "name, status, meta",
    "django_content_type": "*",
    "django_migrations": "app, name",
}


def _asked(database: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql).fetchall()


def _tables(database: Path) -> list[Any]:
    """All tables and indexes with what they are made of, then what stands in them."""
    made_of = _asked(database, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")
    return [made_of, *(sorted(_asked(database, f"SELECT {columns} FROM {name}")) for name, columns in _PUT_IN.items())]


def test_a_new_data_directory_gets_all_tables_and_nobody_in_them(tmp_path: Path) -> None:
    label_studio_tables.lay_out(tmp_path / "data")

    database = tmp_path / "data" / DATABASE
    assert [path.name for path in database.parent.iterdir()] == [DATABASE]  # no key, and nothing half made
    assert len(_asked(database, "SELECT name FROM django_migrations")) > 300
    assert [row for name in _ABOUT_PEOPLE for row in _asked(database, f"SELECT * FROM {name}")] == []
    assert not has_data(tmp_path / "data")


def test_kept_tables_are_for_their_owner_alone(tmp_path: Path) -> None:
    label_studio_tables.lay_out(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_database_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"somebody's own")
    label_studio_tables.lay_out(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == b"somebody's own"


def test_tables_that_a_crash_left_half_made_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / f".{DATABASE}.new").write_bytes(b"half")
    label_studio_tables.lay_out(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE]
    assert _asked(tmp_path / DATABASE, "PRAGMA integrity_check") == [("ok",)]


def test_another_version_makes_its_own(tmp_path: Path) -> None:
    label_studio_tables.lay_out(tmp_path, version="1.12.1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.label_studio
@pytest.mark.skipif(STUDIO_VERSION != LABEL_STUDIO_VERSION, reason="its tables are not written down")
def test_label_studio_makes_the_same_itself_when_it_starts_on_empty_data(cache: Path, tmp_path: Path) -> None:
    label_studio_tables.lay_out(tmp_path / "laid out")
    with running_label_studio(tmp_path / "empty", cache=cache, laid_out=False) as server:
        answer = httpx.get(f"{server.url}/api/current-user/whoami", headers={"Authorization": f"Token {server.token}"})
        assert answer.json()["email"] == server.email
        made = _tables(server.data / DATABASE)

    assert made == _tables(tmp_path / "laid out" / DATABASE), (
        "Label Studio's tables have changed: python -m tests.support.make_label_studio_tables"
    )
