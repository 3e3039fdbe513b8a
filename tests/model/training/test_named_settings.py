"""A project's saved settings."""

import pytest
from tests.support.models import add_project

from captionloop.errors import NotFoundError, SettingsError
from captionloop.model.database import Database, Project
from captionloop.model.training import named_settings


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


def keep(database: Database, project: Project, name: str, **settings: object) -> None:
    with database.session() as session:
        named_settings.save(session, project.id, name, settings, origin="a test")


def read(database: Database, project: Project, name: object) -> dict[str, object]:
    with database.reading() as session:
        return named_settings.read(session, project.id, name)


def test_settings_come_back_by_their_name(database: Database, project: Project) -> None:
    keep(database, project, "careful", steps=7)

    assert read(database, project, "careful") == {"steps": 7}


def test_a_name_stands_for_what_was_kept_last(database: Database, project: Project) -> None:
    keep(database, project, "careful", steps=7, way="lora")
    keep(database, project, "careful", steps=9)

    assert read(database, project, "careful") == {"steps": 9}


def test_an_unknown_name_is_answered_with_those_that_are_known(database: Database, project: Project) -> None:
    keep(database, project, "careful", steps=7)
    keep(database, project, "quick", steps=3)

    with pytest.raises(NotFoundError, match=r"no settings of the name 'hasty'\. It knows: careful, quick"):
        read(database, project, "hasty")


def test_names_belong_to_their_project(database: Database, project: Project) -> None:
    keep(database, project, "careful", steps=7)

    with pytest.raises(NotFoundError, match="A sweep makes some"):
        read(database, add_project(database, 2), "careful")


def test_a_name_is_a_text(database: Database, project: Project) -> None:
    with pytest.raises(SettingsError, match="named 7; expected a text"):
        read(database, project, 7)


def test_only_what_can_be_trained_with_is_kept(database: Database, project: Project) -> None:
    with pytest.raises(SettingsError, match="Unknown fine-tuning setting epochs"):
        keep(database, project, "careful", epochs=7)
