"""The two commands, as people call them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.models import add_project
from tests.support.servers import LabelStudioServer

from captionloop.backend.cli import cli
from captionloop.errors import BusyError
from captionloop.home import Home
from captionloop.model.backup.database_copy import copy_sqlite
from captionloop.model.database import Database


def test_a_home_goes_through_a_file_into_another_home(
    home: Home, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_project(database, 7)
    file = tmp_path / "b.tar"

    made = CliRunner().invoke(cli, ["backup", str(file), "--json"], obj={}, catch_exceptions=False)
    monkeypatch.setenv("CAPTIONLOOP_HOME", str(tmp_path / "other"))
    restored = CliRunner().invoke(cli, ["restore", str(file)], obj={}, catch_exceptions=False)

    assert json.loads(made.stdout)["missing"] == []
    assert f"{tmp_path / 'other'} is as it was on" in restored.stdout
    assert (tmp_path / "other" / "captionloop.db").is_file()


def test_a_restore_over_a_home_in_use_says_what_to_do(home: Home, database: Database, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    CliRunner().invoke(cli, ["backup", str(file)], obj={}, catch_exceptions=False)

    with pytest.raises(BusyError, match="set CAPTIONLOOP_HOME to another one"):
        CliRunner().invoke(cli, ["restore", str(file)], obj={}, catch_exceptions=False)


def test_the_database_of_a_label_studio_that_runs_is_copied_whole(
    label_studio_server: LabelStudioServer, tmp_path: Path
) -> None:
    copy_sqlite(label_studio_server.data / "label_studio.sqlite3", tmp_path / "copy")

    with closing(sqlite3.connect(tmp_path / "copy")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copy.execute("SELECT count(*) FROM htx_user").fetchone()[0] >= 1
