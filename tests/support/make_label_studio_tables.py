"""Writes the tables of a new Label Studio into the sources: `python -m tests.support.make_label_studio_tables`."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from captionloop.backend.local import label_studio_install, label_studio_server
from captionloop.backend.local.label_studio_server import Login
from captionloop.backend.local.label_studio_tables import DATABASE, sql_of
from captionloop.settings import LABEL_STUDIO_VERSION, Secret, Settings

_HEADER = """\
-- The tables of a new Label Studio {version}, as its own migrations make them (Apache License 2.0, HumanSignal).
-- Written by `python -m tests.support.make_label_studio_tables`, and read by `label_studio_tables.py`.
"""
# When the migrations ran is nobody's concern, and would change with each writing.
_ALWAYS_THE_SAME = """
    UPDATE django_migrations SET applied = '2026-01-01 00:00:00';
    UPDATE core_asyncmigrationstatus SET created_at = '2026-01-01 00:00:00', updated_at = '2026-01-01 00:00:00';
"""


def migrate(data: Path) -> None:
    """Let Label Studio make its tables in an empty directory, and nothing else: to say its version, it needs them."""
    command = label_studio_install.install(Settings.read({}).cache, progress=print)
    nobody = Login("", Secret(""), Secret(""))
    program = label_studio_server.program(command, data=data, port=0, login=nobody)
    subprocess.run([str(command), "version"], env=dict(program.environment), cwd=data, check=True)


def written_down(database: Path) -> str:
    """The SQL that makes this database."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(_ALWAYS_THE_SAME)
        return "\n".join(connection.iterdump()) + "\n"


if __name__ == "__main__":
    with TemporaryDirectory() as directory:
        migrate(Path(directory))
        sql = written_down(Path(directory) / DATABASE)
    sql_of(LABEL_STUDIO_VERSION).write_text(_HEADER.format(version=LABEL_STUDIO_VERSION) + sql, encoding="utf-8")
