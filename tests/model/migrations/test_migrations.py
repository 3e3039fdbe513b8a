"""The tables that the migrations make are those of the code, and what was in a database stays in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

import captionloop.model.migrations
from captionloop.model.database import SCHEMA_VERSION_TABLE, Database, Table

_CORRECTION = """INSERT INTO correction (id, project_id, annotation_id, task_id, image_sha256, captions, state,
    annotated_at, updated_at) VALUES (7, 1, 5, 3, 'aa', '["a cat"]', 'active', '2026-01-01', '2026-01-01')"""


def migrate_to(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(captionloop.model.migrations.__file__).parent))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@pytest.fixture
def first_schema(tmp_path: Path) -> Iterator[Database]:
    """A database of the first schema, with a correction that has a history."""
    database = Database(f"sqlite:///{tmp_path / 'old.db'}")
    migrate_to(database, "0001")
    with database.session() as session:
        session.execute(text("INSERT INTO image VALUES ('aa', 1, 1, 1, '2026-01-01')"))
        session.execute(
            text(
                "INSERT INTO project (id, server, label_studio_id, title, is_sample, is_connected, label_config,"
                " webhook_secret, created_at) VALUES (1, 's', 1, '', 0, 1, '', 'x', '2026-01-01')"
            )
        )
        session.execute(text(_CORRECTION))
        session.execute(
            text(
                "INSERT INTO correction_revision (id, correction_id, captions, state, updated_at, replaced_at)"
                " VALUES (1, 7, '[\"a dog\"]', 'active', '2025-01-01', '2025-01-02')"
            )
        )
    yield database
    database.close()


def test_the_tables_are_those_of_the_code(database: Database) -> None:
    with database.engine.connect() as connection:
        opts = {"compare_type": True, "version_table": SCHEMA_VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, Table.metadata) == []


def test_a_correction_and_its_history_survive(first_schema: Database) -> None:
    first_schema.migrate()
    with first_schema.reading() as session:
        assert session.execute(text("SELECT annotation_id, captions FROM correction")).all() == [(5, '["a cat"]')]
        assert session.execute(text("SELECT correction_id FROM correction_revision")).all() == [(7,)]
        assert session.execute(text("PRAGMA foreign_key_check")).all() == []


def test_references_and_uniqueness_are_enforced_afterwards(first_schema: Database) -> None:
    first_schema.migrate()
    with first_schema.reading() as session:
        assert session.execute(text("PRAGMA foreign_keys")).scalar() == 1
    found = inspect(first_schema.engine)
    unique = {tuple(constraint["column_names"]) for constraint in found.get_unique_constraints("correction")}
    assert unique == {("project_id", "annotation_id"), ("project_id", "import_key")}
    (reference,) = found.get_foreign_keys("correction_revision")
    assert reference["referred_table"] == "correction"


def test_images_that_versions_may_have_learnt_from_keep_their_side_of_the_split(first_schema: Database) -> None:
    first_schema.migrate()
    with first_schema.reading() as session:
        assert session.execute(text("SELECT sha256, split_with, looks_like FROM image")).all() == [("aa", "aa", None)]
