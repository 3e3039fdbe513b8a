"""Prepared empty tables for a new Label Studio.

Label Studio creates them by 396 migrations, which is most of its first start. The result is always the same, so it is
kept as SQL beside this module, and Label Studio finds nothing left to migrate. It contains no account and no key: Label
Studio creates those itself in each data directory.

`python -m tests.support.make_label_studio_tables` writes the SQL. A test compares it with Label Studio's own tables.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from captionloop.settings import LABEL_STUDIO_VERSION

DATABASE = "label_studio.sqlite3"
"""The name of Label Studio's database in its data directory."""


def lay_out(data: Path, *, version: str = LABEL_STUDIO_VERSION) -> None:
    """Create the tables in a data directory without a database.

    Does nothing if there is no SQL for that version, or a database exists: then Label Studio creates or migrates them.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    database, sql = data / DATABASE, sql_of(version)
    if database.exists() or not sql.exists():
        return
    half_made = data / f".{DATABASE}.new"
    half_made.unlink(missing_ok=True)
    with closing(sqlite3.connect(half_made)) as connection:
        connection.executescript(sql.read_text(encoding="utf-8"))
    os.replace(half_made, database)


def sql_of(version: str) -> Path:
    """The SQL file of a version's tables."""
    return Path(__file__).with_name(f"label_studio_{version}.sql")
