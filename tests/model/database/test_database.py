"""Bringing a database's schema up to date."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from captionloop.model.database import SCHEMA_VERSION_TABLE, CorrectionRevision, Database, Table, utc_now


def opened(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'captionloop.db'}")


def test_the_migrations_make_the_tables_that_the_code_expects(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": SCHEMA_VERSION_TABLE})
        assert compare_metadata(context, Table.metadata) == []


def test_the_schema_version_stands_where_optuna_does_not_look(database: Database) -> None:
    tables = inspect(database.engine).get_table_names()
    assert SCHEMA_VERSION_TABLE in tables
    assert "alembic_version" not in tables


def test_a_database_with_its_version_in_alembics_usual_table_is_taken_over(tmp_path: Path) -> None:
    database = opened(tmp_path)
    database.migrate()
    with database.session() as session:
        revision = session.scalar(text(f"SELECT version_num FROM {SCHEMA_VERSION_TABLE}"))
        session.execute(text(f"ALTER TABLE {SCHEMA_VERSION_TABLE} RENAME TO alembic_version"))

    database.migrate()

    with database.session() as session:
        assert session.scalar(text(f"SELECT version_num FROM {SCHEMA_VERSION_TABLE}")) == revision
    assert "alembic_version" not in inspect(database.engine).get_table_names()
    database.close()


def test_migrating_leaves_optunas_own_version_alone(tmp_path: Path) -> None:
    from optuna.storages import RDBStorage

    database = opened(tmp_path)
    database.migrate()
    storage = RDBStorage(database.url)
    before = storage.get_current_version()

    database.migrate()

    assert RDBStorage(database.url).get_current_version() == before == storage.get_head_version()
    database.close()


def test_another_programs_version_is_left_alone(tmp_path: Path) -> None:
    database = opened(tmp_path)
    with database.session() as session:
        session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)"))
        session.execute(text("INSERT INTO alembic_version VALUES ('0001')"))

    database.migrate()

    assert {"alembic_version", "correction"} <= set(inspect(database.engine).get_table_names())
    database.close()


def test_an_error_that_goes_into_a_log_repeats_nothing_that_people_wrote(database: Database) -> None:
    with pytest.raises(IntegrityError) as raised, database.session() as session:
        session.add(CorrectionRevision(correction_id=1, captions=["what a person wrote"], updated_at=utc_now()))
    assert "what a person wrote" not in str(raised.value)
