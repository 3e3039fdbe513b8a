"""The champion writes in the project's current style as soon as it is current, if it knows it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from PIL import Image
from tests.support.contexts import NO_REDIS
from tests.support.models import tiny_base
from tests.support.pictures import picture
from tests.support.service import CONFIG, caption_service, client_of, predict
from tests.support.styles import serve_styles

from captionloop.backend.serving.caption_service import CaptionService
from captionloop.model.database import Database, Project, Suggestion
from captionloop.model.dataset.styles import begin_style, end_style


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[CaptionService]:
    base = tiny_base(tmp_path / "base")
    with caption_service(database, NO_REDIS, tmp_path, base) as made:
        made.versions.ensure_champion(made.projects.seen(7, label_config=CONFIG).id, base)
        serve_styles(made.versions, made.projects.seen(7), base.source)
        yield made


@pytest.fixture
def project(service: CaptionService) -> Project:
    return service.projects.seen(7)


@pytest.fixture
def client(service: CaptionService) -> FlaskClient:
    return client_of(service)


def captions(client: FlaskClient) -> list[str]:
    entries = predict(client, picture("red"), picture("blue"))
    return [entry["result"][0]["value"]["text"][0] for entry in entries]


def are_shouted(texts: list[str]) -> bool:
    return texts == [text.upper() for text in texts]


def test_a_change_of_the_current_style_shows_at_once(client: FlaskClient, database: Database, project: Project) -> None:
    before = captions(client)
    assert not are_shouted(before)

    with database.session() as session:
        begin_style(session, project.id, "shouted")
    assert are_shouted(captions(client))
    with database.reading() as session:
        assert {row.style for row in session.query(Suggestion)} == {"shouted"}

    with database.session() as session:
        end_style(session, project.id, "shouted")
    assert captions(client) == before
    with database.reading() as session:
        assert {row.style for row in session.query(Suggestion)} == {None}


def test_a_style_that_the_champion_does_not_know_leaves_it_in_its_own(
    client: FlaskClient, database: Database, project: Project
) -> None:
    before = captions(client)
    with database.session() as session:
        begin_style(session, project.id, "whispered")
    assert captions(client) == before


def test_each_project_gets_its_own_style_from_the_same_model(
    service: CaptionService, database: Database, project: Project
) -> None:
    with database.session() as session:
        begin_style(session, project.id, "shouted")
    with service.champions.lease(project.id) as batcher:
        image = Image.new("RGB", (32, 32), "red")
        asked = [batcher.submit(image, "", [batcher.writer(style)]) for style in (None, "shouted", None, "shouted")]
        texts = [answer.result()[0].caption for answer in asked]
    assert texts[0] == texts[2] != texts[1] == texts[3] == texts[1].upper()
