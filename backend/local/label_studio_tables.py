"""The empty tables of a new Label Studio, laid out before its first start.

Label Studio makes them by 396 migrations, one after the other, which is most of what its first start does. What comes
out is always the same, so it is kept as SQL beside this module, and Label Studio finds nothing left to migrate. There
is no account in it and no key: those Label Studio makes itself, in each data directory its own.

`python -m tests.support.make_label_studio_tables` writes the SQL. A test compares it with what Label Studio makes.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from captionloop.settings import LABEL_STUDIO_VERSION

DATABASE = "label_studio.sqlite3"
"""The name of Label Studio's database in its data directory."""


def lay_out(data: Path, *, version: str = LABEL_STUDIO_VERSION) -> None:
    """Put the tables into a data directory without a database.

    Where we do not know the tables of that version, or there is a database already, nothing is done: Label Studio then
    makes them, or migrates those that it finds.
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
    """Where the tables of a Label Studio are written down."""
    return Path(__file__).with_name(f"label_studio_{version}.sql")
