"""A consistent copy of a database in one SQLite file while others write; and loading such a file into a database.

A SQLite database is copied by SQLite's online backup. The rows of a PostgreSQL database are read in one REPEATABLE READ
transaction, which sees one state throughout, and inserted into a SQLite file with the same tables.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import JSON, MetaData, func, insert, inspect, select, text, update
from sqlalchemy import Table as SqlTable
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DatabaseError

from captionloop.errors import BackupError, BusyError, ServiceError
from captionloop.model.database import Database, Table

_MAGIC = b"SQLite format 3\x00"
_ROWS = 1000  # read and written at once
_OPTUNA_TABLE = "studies"


def is_sqlite_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a SQLite database that others may be using; the copy is one file, without a WAL."""
    with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(target)) as here:
        there.backup(here)
        here.execute("PRAGMA journal_mode=DELETE")


def dump(database: Database, target: Path) -> None:
    """Copy a database into a new SQLite file.

    Raises:
        ServiceError: the database does not answer.
        sqlite3.Error: the file cannot be written.
    """
    if (file := sqlite_file(database)) is not None:
        with database.reading():  # turns driver errors into a ServiceError
            copy_sqlite(file, target)
        return
    with (
        database.explained(),
        _as_sqlite_says_it(),
        _sqlite(target) as copy,
        database.engine.connect() as unbegun,
    ):
        _prepare_tables(copy, like=database)
        source = unbegun.execution_options(isolation_level="REPEATABLE READ")
        with source.begin(), copy.engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")  # the order of rows is the source's
            with connection.begin():
                _copy_rows(source, connection)
    with closing(sqlite3.connect(target)) as here:
        here.execute("PRAGMA journal_mode=DELETE")


def load(file: Path, database: Database) -> None:
    """Load such a file into an empty database, in one transaction.

    A file of an earlier release is migrated to the present schema.

    Raises:
        BusyError: the database has rows.
        ServiceError: the database does not answer.
        sqlite3.Error: the file cannot be read or migrated.
    """
    database.migrate()
    require_empty(database)
    with database.explained(), _as_sqlite_says_it(), _sqlite(file) as copy:
        _prepare_tables(database, like=copy)
        with copy.engine.begin() as source, database.engine.begin() as target:
            _copy_rows(source, target)


def require_empty(database: Database) -> None:
    """
    Raises:
        BusyError: the database has rows of ours.
        ServiceError: it does not answer.
    """
    present = set(inspect(database.engine).get_table_names())
    with database.reading() as session:
        for table in Table.metadata.sorted_tables:
            if table.name in present and session.execute(select(func.count()).select_from(table)).scalar_one():
                raise BusyError(
                    f"The database {database.shown_url} is not empty: its table {table.name} has rows. Set "
                    "CAPTIONLOOP_DATABASE_URL to an empty one."
                )


def check(file: Path) -> None:
    """Check that a SQLite file is intact, and a database of ours.

    Raises:
        BackupError: it is not.
    """
    try:
        with closing(sqlite3.connect(file)) as connection:
            [(found,), *_] = connection.execute("PRAGMA integrity_check").fetchall()
            dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
            revisions = [row[0] for row in connection.execute("SELECT version_num FROM schema_version")]
    except sqlite3.Error as error:
        raise BackupError(f"The database in the backup cannot be read ({error}).") from error
    if found != "ok" or dangling:
        raise BackupError(f"The database in the backup is damaged ({found if found != 'ok' else dangling[0]}).")
    if not set(revisions) <= Database.known_revisions():
        raise BackupError(
            f"The backup's database has the schema {', '.join(revisions)}, which this release does not know. It was "
            "made by a later one: install that."
        )


def sqlite_file(database: Database) -> Path | None:
    """The file of a SQLite database; None for another kind."""
    url = make_url(database.url)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


@contextmanager
def _as_sqlite_says_it() -> Iterator[None]:
    """Keep errors of the SQLite file apart from those of the PostgreSQL database."""
    try:
        yield
    except (DatabaseError, ServiceError) as error:
        found = error.__cause__ if isinstance(error, ServiceError) else error
        if isinstance(reason := getattr(found, "orig", None), sqlite3.Error):
            raise reason from error
        raise


@contextmanager
def _sqlite(file: Path) -> Iterator[Database]:
    """A SQLite file with the present schema."""
    opened = Database(f"sqlite:///{file}")
    try:
        opened.migrate()
        yield opened
    finally:
        opened.close()


def _prepare_tables(database: Database, *, like: Database) -> None:
    """Create Optuna's tables as well, if the other database has them."""
    if inspect(like.engine).has_table(_OPTUNA_TABLE):
        from captionloop.model.sweep.trials import make_tables

        make_tables(database)


def _copy_rows(source: Connection, target: Connection) -> None:
    """Fill every table of the target with the rows of the source."""
    if source.dialect.name == "postgresql":
        source.execute(text("SET LOCAL TIME ZONE 'UTC'"))  # SQLite stores datetimes without a zone
    if target.dialect.name == "postgresql":
        target.execute(text("SET LOCAL TIME ZONE 'UTC'"))
    theirs, ours = _tables(source), _tables(target)
    for table in reversed(ours.sorted_tables):
        target.execute(table.delete())  # what a fresh schema has: its own revision, Optuna's
    for table in ours.sorted_tables:
        if table.name in theirs.tables:
            _copy_table(source, theirs.tables[table.name], target, table)


def _tables(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    for table in found.tables.values():
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type.none_as_null = True  # keep SQL's NULL apart from JSON's null
    return found


def _copy_table(source: Connection, theirs: SqlTable, target: Connection, ours: SqlTable) -> None:
    # Rows may refer to others of the same table that come later.
    later = [column.name for column in ours.columns if _refers_to_own_table(ours, column.name)]
    keys = [column.name for column in ours.primary_key]
    rows = source.execution_options(stream_results=True).execute(select(theirs)).mappings()
    referring = []
    for part in rows.partitions(_ROWS):
        target.execute(insert(ours), [{**row, **dict.fromkeys(later)} for row in part])
        referring += [{name: row[name] for name in (*keys, *later)} for row in part if any(row[n] for n in later)]
    for row in referring:
        chosen = [ours.columns[key] == row[key] for key in keys]
        target.execute(update(ours).where(*chosen).values({name: row[name] for name in later}))
    if target.dialect.name == "postgresql":
        _continue_numbers(target, ours)


def _refers_to_own_table(table: SqlTable, column: str) -> bool:
    return any(key.column.table is table for key in table.columns[column].foreign_keys)


def _continue_numbers(target: Connection, table: SqlTable) -> None:
    """Set PostgreSQL's sequences past the inserted ids."""
    for column in table.primary_key:
        counter = target.scalar(
            text("SELECT pg_get_serial_sequence(:table, :column)"),
            {"table": f'"{table.name}"', "column": column.name},
        )
        if counter is not None and (last := target.scalar(select(func.max(column)))) is not None:
            target.execute(text("SELECT setval(:counter, :last)"), {"counter": counter, "last": last})
