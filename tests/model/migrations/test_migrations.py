"""The tables that the migrations make are those of the code, and what was in a database stays in it."""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

import captionloop.model.migrations
from captionloop.backend.cli import main
from captionloop.errors import ServiceError
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


def test_no_migration_imports_what_a_later_release_may_change() -> None:
    """Only the files beside them, which import nothing of ours either."""
    folder = Path(captionloop.model.migrations.__file__).parent
    ours = {
        path.name: found
        for path in sorted(folder.rglob("*.py"))
        if path.name != "env.py"  # runs with every release, on that release's tables
        and (found := [name for name in _imported(path) if name.startswith("captionloop")])
    }

    assert ours == {
        "0002_review.py": ["captionloop.model.migrations.texts_of_0002"],
        "0014_search_forms.py": ["captionloop.model.migrations.texts_of_0014"],
    }


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def test_corrections_of_before_the_review_pages_get_their_columns(first_schema: Database) -> None:
    texts = {
        8: ("a woman's  red hat", ["two women's red hats", "A woman's red hat."]),
        9: ("a red car", ["A Blue car"]),
        10: ("a cat on a mat", ["a dog on a mat", "two dogs"]),
        11: (None, ["Straße\x00"]),
    }
    with first_schema.session() as session:
        for number, (suggestion, captions) in texts.items():
            values = {"id": number, "suggestion": suggestion, "captions": json.dumps(captions)}
            session.execute(
                text(
                    "INSERT INTO correction (id, project_id, annotation_id, task_id, suggestion, captions, state,"
                    " annotated_at, updated_at) VALUES (:id, 1, :id, 3, :suggestion, :captions, 'active',"
                    " '2026-01-01', '2026-01-01')"
                ),
                values,
            )
    migrate_to(first_schema, "0002")

    with first_schema.reading() as session:
        found = session.execute(text("SELECT words_changed, guess, search_text FROM correction WHERE id > 7")).all()
    assert [tuple(row) for row in found] == [
        (1, "wording", "a woman's  red hat\ntwo women's red hats\na woman's red hat."),
        (1, "attributes", "a red car\na blue car"),
        (1, "subject", "a cat on a mat\na dog on a mat\ntwo dogs"),
        (None, None, "\nstrasse\ufffd"),
    ]


def test_corrections_of_before_are_searched_without_accents(first_schema: Database) -> None:
    texts = {number: [f"Élan {number}"] for number in range(100, 2200)} | {2200: ["İğde\u200c ẞ\x00", "مُحَمَّد"]}
    with first_schema.session() as session:
        session.execute(
            text(
                "INSERT INTO correction (id, project_id, annotation_id, task_id, captions, state,"
                " annotated_at, updated_at) VALUES (:id, 1, :id, 3, :captions, 'active', '2026-01-01', '2026-01-01')"
            ),
            [{"id": number, "captions": json.dumps(captions)} for number, captions in texts.items()],
        )
    first_schema.migrate()

    with first_schema.reading() as session:
        rows = session.execute(text("SELECT id, search_text FROM correction WHERE id >= 100"))
        found: dict[int, str] = {row.id: row.search_text for row in rows}
    assert [found[number] for number in (100, 1100, 2199, 2200)] == [
        "\nelan 100", "\nelan 1100", "\nelan 2199", "\nigde ss\ufffd\nمحمد",
    ]  # fmt: skip


@pytest.mark.faults
def test_a_schema_of_a_later_release_is_named_and_left_alone(
    either_database: Database, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with either_database.session() as session:
        session.execute(text(f"UPDATE {SCHEMA_VERSION_TABLE} SET version_num = '9999'"))
    monkeypatch.setenv("CAPTIONLOOP_DATABASE_URL", either_database.url)
    monkeypatch.setenv("REDIS_URL", "redis://localhost:1")

    for command_line in (["versions"], ["project", "show"], ["migrate"]):
        monkeypatch.setattr(sys, "argv", ["captionloop", *command_line])
        with pytest.raises(SystemExit) as ended:
            main()

        said = capfd.readouterr().err
        assert (ended.value.code, "has schema 9999" in said, "Traceback" in said) == (3, True, False), (
            command_line,
            said,
        )
    with pytest.raises(ServiceError, match="a later one has migrated it"):
        either_database.require_migrated()  # what `worker --no-migrate` does
    with either_database.reading() as session:
        assert session.scalar(text(f"SELECT version_num FROM {SCHEMA_VERSION_TABLE}")) == "9999"
