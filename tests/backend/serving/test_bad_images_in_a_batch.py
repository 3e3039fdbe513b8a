"""A batch in which most images are bad: the good ones get their captions all the same."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from tests.support.bad_images import bad_images
from tests.support.models import tiny_base
from tests.support.pictures import picture
from tests.support.service import caption_service, client_of, predict

from captionloop.model.database import Database, Suggestion

COLOURS = ["red", "green", "blue", "white", "black"]


@pytest.fixture
def client(database: Database, redis_url: str, tmp_path: Path) -> Iterator[FlaskClient]:
    with caption_service(database, redis_url, tmp_path, tiny_base(tmp_path / "base")) as service:
        yield client_of(service)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of some of them
def test_two_hundred_bad_images_harm_no_neighbour(client: FlaskClient, database: Database) -> None:
    bad = ["data:image/png;base64," + base64.b64encode(data).decode() for data in bad_images().values()]
    alone = {colour: predict(client, picture(colour))[0]["result"] for colour in COLOURS}
    good = {place: COLOURS[place % len(COLOURS)] for place in range(0, 2 * len(bad), 2)}

    entries = predict(
        client, *[picture(good[place]) if place in good else bad[place // 2] for place in range(2 * len(bad))]
    )

    assert len(entries) == 2 * len(bad)
    assert all(entries[place]["result"] == alone[colour] for place, colour in good.items())
    refused = [entry for entry in entries if entry.get("result") == []]
    assert len(refused) > 100
    assert all(entry["reason"].endswith(".") for entry in refused)
    with database.reading() as session:
        assert session.query(Suggestion).where(Suggestion.caption.is_(None)).count() == len(refused)
