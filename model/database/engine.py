"""Database engine and sessions: SQLite by default, PostgreSQL by URL."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import String, column, create_engine, event, inspect, select, table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from captionloop.errors import ServiceError, SettingsError
from captionloop.model.database.tables import CorrectionRevision, Table
from captionloop.package_version import __version__

_MIGRATIONS = Path(__file__).parents[1] / "migrations"
# Which of our migrations a database has had. Alembic's usual table is left to Optuna, whose migrations use it and
# which takes a revision that is not its own for a newer Optuna's.
SCHEMA_VERSION_TABLE = "schema_version"
_ALEMBIC_TABLE = "alembic_version"
# How long a writer waits before SQLite says "database is locked".
_SQLITE_BUSY_TIMEOUT_S = 45
# A process keeps 5 open, SQLAlchemy's default. When the database is locked, requests wait, each with a connection;
# PostgreSQL allows 100 in all.
_KEPT_CONNECTIONS, _MOST_CONNECTIONS = 5, 30
# Any numbers will do, as long as they differ.
_SCHEMA_LOCK = 7163528
NEAR_DUPLICATES_LOCK = 7163529
SECRETS_LOCK = 7163530
BASE_LOCK = 7163531
_READ_ONLY = "captionloop_read_only"
# SQLite's errors that are not bugs, and the remedy for each.
_FULL = "Its disk is full: make room there, then do the same again."
_REMEDIES = {
    "locked": "Another program holds it; the same works once that has let it go.",
    "full": _FULL,
    "No space left": _FULL,
    "read-only transaction": "It takes no changes: it is a standby, or set to be read only. Name in "
    "CAPTIONLOOP_DATABASE_URL the one that takes them, or let this one do so again.",
    "readonly": "It may not be written: check the rights of its file and directory, and how its disk is mounted.",
    "unable to open": "It may be missing, or not to be written: check its directory, the rights there, and its disk.",
    "disk I/O": "Its disk cannot be read or written: it may be full or failing, see the system's log.",
    "malformed": "Its file is damaged: end everything and restore a backup into an empty home.",
}
_USUAL_REMEDY = "Check that it runs, and CAPTIONLOOP_DATABASE_URL."
_OF_THE_PROGRAM = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


class Database:
    """An open database. `close()` is idempotent."""

    def __init__(self, url: str) -> None:
        """Create an engine for `url`; connects lazily.

        Raises:
            SettingsError: SQLAlchemy does not understand the URL, or its driver is not installed.
        """
        self.url = url
        self.engine = _engine(url)
        self._writing = sessionmaker(self.engine, expire_on_commit=False)
        self._reading = sessionmaker(self.engine.execution_options(**{_READ_ONLY: True}), expire_on_commit=False)

    def migrate(self) -> None:
        """Migrate the schema to the latest revision; safe when several processes start at once.

        Raises:
            ServiceError: the database does not answer, or refuses, or a later release has migrated it.
        """
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        try:
            with self.engine.connect() as connection, _unforced_references(connection), connection.begin():
                wait_for_lock(connection, _SCHEMA_LOCK)
                config.attributes["connection"] = connection
                self._refuse_later(_revision(connection))
                if revision := _give_up_alembic_table(connection):
                    command.stamp(config, revision)
                command.upgrade(config, "head")
        except SQLAlchemyError as error:
            raise ServiceError(f"The database {self.shown_url} cannot be used: {_cause(error)}.") from error

    def _refuse_later(self, revision: str | None) -> None:
        if revision is not None and revision not in self.known_revisions():
            raise ServiceError(
                f"The database {self.shown_url} has schema {revision}, unknown to this release ({__version__}): "
                "a later one has migrated it. Install that one here; there is no way back but a backup."
            )

    def require_migrated(self) -> None:
        """Check that the schema is the latest one, and change nothing.

        Raises:
            ServiceError: it is another one, or the database does not answer.
        """
        from alembic.script import ScriptDirectory

        try:
            with self.engine.connect() as connection:
                found = _revision(connection)
        except SQLAlchemyError as error:
            raise ServiceError(f"The database {self.shown_url} cannot be used: {_cause(error)}.") from error
        self._refuse_later(found)
        wanted = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
        if found != wanted:
            raise ServiceError(
                f"The database {self.shown_url} has {'schema ' + found if found else 'no tables of ours'}, and this "
                f"release needs schema {wanted}. Run `captionloop migrate` of the newest release in use, once."
            )

    @staticmethod
    def known_revisions() -> set[str]:
        """All revisions that `migrate` knows."""
        from alembic.script import ScriptDirectory

        return {script.revision for script in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()}

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction that writes: committed at the end of the block, rolled back when the block raises.

        Raises:
            ServiceError: the database does not answer, stays locked, or cannot write; rolled back.
        """
        with self.explained(), self._writing.begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads and does not wait for writers. The rows stay usable after the block.

        Raises:
            ServiceError: the database does not answer.
        """
        with self.explained(), self._reading() as session:
            yield session

    def check(self) -> None:
        """Run a query.

        Raises:
            ServiceError: the database does not answer.
        """
        try:
            with self.reading() as session:
                session.execute(text("SELECT count(*) FROM project"))
        except SQLAlchemyError as error:  # PostgreSQL's way of saying that there are no tables
            raise ServiceError(f"The database {self.shown_url} does not answer: {_cause(error)}.") from error

    @contextmanager
    def explained(self) -> Iterator[None]:
        """For direct use of `engine`: turn operational errors into a `ServiceError` with the remedy.

        Raises:
            ServiceError: the database does not answer, stays locked, or cannot write.
        """
        try:
            yield
        except PoolTimeoutError as error:
            raise ServiceError(
                f"The database {self.shown_url} keeps all connections waiting. {_USUAL_REMEDY}"
            ) from error
        except (DatabaseError, InterfaceError) as error:
            if isinstance(error, _OF_THE_PROGRAM):
                raise
            cause = _cause(error)
            remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in cause), _USUAL_REMEDY)
            raise ServiceError(f"The database {self.shown_url} cannot be used ({cause}). {remedy}") from error

    @property
    def shown_url(self) -> str:
        """The address without its password."""
        return shown_url(self.url)

    def close(self) -> None:
        self.engine.dispose()


def shown_url(url: str) -> str:
    """A database URL without its password, which may also be in the query.

    Raises:
        SettingsError: it is not a URL.
    """
    return _parsed(url).difference_update_query(["password"]).render_as_string(hide_password=True)


def add_unless_there(session: Session, kind: type[Table], **values: Any) -> None:
    """Insert a row, unless one with the same unique values exists or is being inserted by another process."""
    insert: Any = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(kind).values(**values).on_conflict_do_nothing())


def database_time(session: Session) -> datetime:
    """The present moment by the database's clock, the same for all who use it, whatever their own clocks say."""
    if session.get_bind().dialect.name == "postgresql":
        return session.execute(text("SELECT clock_timestamp()")).scalar_one().astimezone(UTC)
    now = session.execute(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")).scalar_one()
    return datetime.fromisoformat(now).replace(tzinfo=UTC)


def wait_for_lock(connection: Connection, lock: int) -> None:
    """Hold an advisory lock until the transaction ends.

    On SQLite a transaction that writes (BEGIN IMMEDIATE) excludes all others already.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})


def _engine(url: str) -> Engine:
    parsed = _parsed(url)
    try:
        engine = create_engine(parsed, **engine_arguments(url))
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise _unusable(error) from error
    prepare(engine)
    return engine


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: its port is none
        raise _unusable(error) from error


def _unusable(error: Exception) -> SettingsError:
    return SettingsError(
        f"CAPTIONLOOP_DATABASE_URL cannot be used ({error}). Expected sqlite:///FILE or "
        "postgresql+psycopg://USER:PASSWORD@HOST/NAME (`pip install 'captionloop[postgres]'`)."
    )


def engine_arguments(url: str) -> dict[str, Any]:
    """The further arguments of `create_engine` for this URL."""
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    kind = {"connect_args": {"timeout": _SQLITE_BUSY_TIMEOUT_S}} if is_sqlite else {"pool_pre_ping": True}
    # Errors are logged, and captions must not be.
    return {**kind, "max_overflow": _MOST_CONNECTIONS - _KEPT_CONNECTIONS, "hide_parameters": True}


def prepare(engine: Engine) -> None:
    """Configure a new engine for several writing processes; call before its first connection."""
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)


def _prepare_sqlite(engine: Engine) -> None:
    """WAL mode, enforced foreign keys, and a write lock at the start of each writing transaction.

    Python's driver opens transactions late, so that two writers can both read first and then deadlock; these listeners
    are the remedy in SQLAlchemy's documentation ("Serializable isolation / Savepoints").
    """

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.execute("PRAGMA synchronous=FULL")
                cursor.execute("PRAGMA foreign_keys=ON")
        except sqlite3.Error:  # such as for want of room; nobody else knows of the connection yet
            connection.close()
            raise

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        reads = connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _revision(connection: Connection) -> str | None:
    """The schema that a database has; None without one of ours."""
    if not inspect(connection).has_table(SCHEMA_VERSION_TABLE):
        return None
    chosen = select(column("version_num", String)).select_from(table(SCHEMA_VERSION_TABLE))
    return connection.scalar(chosen)


@contextmanager
def _unforced_references(connection: Connection) -> Iterator[None]:
    """Foreign keys off: SQLite alters a table by recreating it, and dropping the old one would violate references.

    Steps 1 and 12 of "Making Other Kinds Of Table Schema Changes" in SQLite's documentation. The pragma has no effect
    inside a transaction, hence the driver's own connection, on which SQLAlchemy begins none.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.cursor()
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")
        driver.close()


def _give_up_alembic_table(connection: Connection) -> str | None:
    """Drop the table with our revision in databases of version 0.1.0, and return it; None if there is none."""
    tables = inspect(connection).get_table_names()
    is_ours = CorrectionRevision.__tablename__ in tables  # else it belongs to another program in the same database
    if SCHEMA_VERSION_TABLE in tables or _ALEMBIC_TABLE not in tables or not is_ours:
        return None
    revision = connection.scalar(select(column("version_num")).select_from(table(_ALEMBIC_TABLE)))
    connection.execute(text(f"DROP TABLE {_ALEMBIC_TABLE}"))
    return None if revision is None else str(revision)


def _cause(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")
