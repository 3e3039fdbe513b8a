"""From every earlier schema, with rows in all its tables, to today's; and what a release left behind.

What is put into a schema is made from the schema itself, so that a later migration needs no new test.
"""

import base64
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Column, MetaData, Row, select, types
from sqlalchemy import Table as Reflected
from tests.model.migrations.test_migrations import migrate_to
from tests.support.pictures import picture
from tests.support.postgres import empty_database
from tests.support.versions import FinishedRun, finished_run

import captionloop.model.migrations
from captionloop.home import Home
from captionloop.model.active_learning.project_settings import ProjectSettings, settings_of
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.database import SCHEMA_VERSION_TABLE, Correction, Database, Project, Table, Version
from captionloop.model.dataset import corrections
from captionloop.model.dataset.images import open_image
from captionloop.model.versions.manifest import MANIFEST, verify_files
from captionloop.model.versions.store import VersionStore

REVISIONS = sorted(Database.known_revisions())
ROWS = (1, 2)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# Where any word would do for the database, but not for the code: by table or by column, for the first and second row.
WORDS: dict[str, tuple[Any, Any]] = {
    "correction.state": ("active", "image_unreadable"),
    "correction_revision.state": ("active", "emptied"),
    "run.state": ("finished", "failed"),
    "sweep.state": ("cancelled", "failed"),
    "version.state": ("retired", "candidate"),
    "kind": ("finetune", "annotate"),
    "better": ("first", "same"),
    "category": ("subject", None),
    "guess": ("wording", None),
    "left_out": (False, True),
    "captions": (["a cat 🐈"], ["zwei Hunde", "NUL: \x00"]),
    "suggestion": ("a dog", None),
    "champion": ("name-1", "name-2"),
    "correction.import_key": (None, "key-2"),
    "correction.annotation_id": (1, 2),
}
GONE = {("version", "path")}  # columns that a migration takes away
# And those that one writes anew: what is searched, and the text box of a style, which nothing read before 0019.
DERIVED = {("correction", "search_text"), ("style", "control")}


def value(column: "Column[Any]", row: int, tables: Mapping[str, Reflected]) -> Any:
    """Something for a column that is told apart from what stands in the others, and fits to what it refers to."""
    for name in (f"{column.table.name}.{column.name}", column.name):
        if name == "correction.annotation_id" and row == 2 and "import_key" in column.table.columns:
            return None  # the second correction is an imported one, where there are such
        if name in WORDS and not (name == "kind" and column.table.name == "dismissal"):
            return WORDS[name][row - 1]
    for reference in column.foreign_keys:
        return value(reference.column, row, tables)
    kind = column.type
    if isinstance(kind, types.Boolean):
        return row == 1
    if isinstance(kind, types.DateTime):
        return MOMENT
    if isinstance(kind, types.JSON):
        return {}
    if isinstance(kind, types.LargeBinary):
        return bytes([row])
    if isinstance(kind, types.Integer):
        return row
    if isinstance(kind, (types.Numeric, types.Float)):
        return row / 4
    return f"{column.name}-{row}"


def reflect(database: Database) -> dict[str, Reflected]:
    metadata = MetaData()
    metadata.reflect(database.engine)
    return {table.name: table for table in metadata.sorted_tables if table.name != SCHEMA_VERSION_TABLE}


def fill(database: Database) -> None:
    """Two rows in each table."""
    tables = reflect(database)
    with database.engine.begin() as connection:
        for table in tables.values():
            for row in ROWS:
                connection.execute(
                    table.insert().values({column.name: value(column, row, tables) for column in table.columns})
                )


def content(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables."""

    def plain(row: Row[Any]) -> dict[str, Any]:
        return {
            name: found.replace(tzinfo=None) if isinstance(found, datetime) else found
            for name, found in row._mapping.items()
        }

    with database.engine.connect() as connection:
        return {
            name: [plain(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for name, table in reflect(database).items()
        }


@dataclass(frozen=True)
class Upgraded:
    """A database that is up to date, and what was in it when it was not."""

    database: Database
    before: Mapping[str, list[dict[str, Any]]]


@pytest.fixture(
    scope="module",
    params=[(kind, revision) for kind in ("sqlite", "postgresql") for revision in REVISIONS],
    ids=lambda param: " ".join(param),
)
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """A database of an earlier schema with two rows in each table, brought up to date."""
    kind, revision = request.param
    with ExitStack() as opened:
        if kind == "postgresql":
            url = opened.enter_context(empty_database(request.getfixturevalue("postgres_server")))
        else:
            url = f"sqlite:///{tmp_path_factory.mktemp('old') / 'old.db'}"
        database = opened.enter_context(closing(Database(url)))
        migrate_to(database, revision)
        fill(database)
        before = content(database)
        database.migrate()
        yield Upgraded(database, before)


def test_every_row_of_every_table_is_there_as_it_was(old: Upgraded) -> None:
    after = content(old.database)
    assert set(old.before) <= set(after)
    for table, rows in old.before.items():
        assert len(after[table]) == len(ROWS), table
        for was, found in zip(rows, after[table], strict=True):
            kept = {name: given for name, given in was.items() if (table, name) not in GONE | DERIVED}
            assert {name: found[name] for name in kept} == kept, table


def test_the_code_reads_all_of_it(old: Upgraded) -> None:
    with old.database.reading() as session:
        for mapper in Table.registry.mappers:
            found = list(session.scalars(select(mapper.class_)))
            assert len(found) == (len(ROWS) if mapper.local_table.name in old.before else 0)  # type: ignore[attr-defined]
        project = session.get_one(Project, 1)
        assert settings_of(project) == ProjectSettings()
        examples = corrections.training_examples(session, 1)
    # Since 0019 the other text boxes teach as well.
    assert {example.caption for example in examples} == {"a cat 🐈"}


def test_references_hold_and_the_tables_are_those_of_a_new_database(old: Upgraded, tmp_path: Path) -> None:
    fresh = Database(f"sqlite:///{tmp_path / 'fresh.db'}")
    fresh.migrate()
    names = {name: {column.name for column in table.columns} for name, table in reflect(fresh).items()}
    fresh.close()

    assert {name: {column.name for column in table.columns} for name, table in reflect(old.database).items()} == names
    if old.database.engine.dialect.name == "sqlite":
        with old.database.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


def test_migrating_again_changes_nothing(old: Upgraded) -> None:
    before = content(old.database)

    old.database.migrate()

    assert content(old.database) == before


def test_what_is_written_afterwards_gets_numbers_of_its_own(old: Upgraded) -> None:
    """A table that was made anew must not begin to count again from the start. (PostgreSQL counts apart from the rows;
    these were put in by number, so it is told where it stands, as rows that came the usual way would have.)"""
    with old.database.session() as session:
        if old.database.engine.dialect.name == "postgresql":
            for table in ("project", "correction"):
                session.connection().exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
                )
        project = Project(server="elsewhere", label_studio_id=9, webhook_secret="x")
        session.add(project)
        session.flush()
        made = Correction(project_id=project.id, annotation_id=9, task_id=9, annotated_at=MOMENT, updated_at=MOMENT)
        session.add(made)
        session.flush()
        assert (project.id, made.id) == (3, 3)
        session.rollback()


def test_there_is_one_line_of_migrations() -> None:
    scripts = ScriptDirectory(str(Path(captionloop.model.migrations.__file__).parent))

    assert [script.revision for script in scripts.walk_revisions()][::-1] == REVISIONS


# Version directories --------------------------------------------------------------------------------------------------


def test_a_version_directory_of_the_first_release_loads_and_captions(
    database: Database, home: Home, tmp_path: Path
) -> None:
    """It had no model card, no logs, no comparison, and knew nothing of how people write."""
    finished = finished_run(database, home, tmp_path, logs=False)
    path = finished.version.path
    made_by_us = json.loads((path / MANIFEST).read_text())
    for name in ("README.md", "comparison.json.gz", "comparison.jsonl"):
        (path / name).unlink(missing_ok=True)
    generation = {"num_beams": 1, "min_length": 3, "max_length": 8, "prompt": "", "repetition_penalty": 1.0}
    known = ("version", "created_at", "parent", "snapshot", "corrections", "settings", "metrics", "reason")
    manifest = {name: made_by_us[name] for name in known} | {
        "generation": generation,
        "files": {name: digest for name, digest in made_by_us["files"].items() if (path / name).is_file()},
    }
    (path / MANIFEST).write_text(json.dumps(manifest))
    with database.session() as session:
        session.get_one(Version, finished.version.version).generation = generation

    store = VersionStore(database, home.versions)
    version = store.get(finished.project.id, finished.version.version)
    verify_files(version.path)
    captioner = Captioner.load(version.path, version=version.version, generation=version.generation, precision="fp32")

    (suggestion,) = captioner.caption([open_image(_png())])
    assert suggestion.caption


def test_a_version_directory_that_was_copied_to_another_home_is_found_by_its_name(
    finished: FinishedRun, database: Database, home: Home, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(home.versions, elsewhere)

    version = VersionStore(database, elsewhere).get(finished.project.id, finished.version.version)

    assert version.path.parent == elsewhere
    verify_files(version.path)


def _png() -> bytes:
    return base64.b64decode(picture("red").partition(",")[2])
