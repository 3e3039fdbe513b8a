"""The page Try: a picture in, the captions of one or two versions out, and nothing of it kept."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from playwright.sync_api import Page, expect
from tests.support.live_room import press, sign_in
from tests.support.room import opened_room, token_in
from tests.support.styles import serve_styles
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.room import Room
from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.jobs.context import Context

PAGE = "/projects/1/try"


@pytest.fixture
def room(finished: FinishedRun, home: Home, redis_url: str) -> Iterator[Room]:
    """Its projects start from a model that is loaded in a moment."""
    with opened_room(home, redis_url, model=finished.base.source) as opened:
        yield opened


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), "teal").save(buffer, "PNG")
    return buffer.getvalue()


def send(client: FlaskClient, data: bytes | None, **fields: str) -> Any:
    files = {} if data is None else {"picture": (io.BytesIO(data), "picture.png")}
    return client.post(PAGE, data={**fields, **files, "csrf_token": token_in(client, PAGE)})


def files_of(room: Room) -> list[Path]:
    return sorted(path for path in room.home.root.rglob("*") if path.suffix not in {".db", ".db-wal", ".db-shm"})


def test_a_picture_gets_the_champions_caption_with_words_and_veils(lead: FlaskClient) -> None:
    answer = send(lead, picture())

    shown = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert "data:image/jpeg;base64," in shown
    assert shown.count("data:image/png;base64,") == shown.count('type="radio"') > 0
    assert re.search(r'data-how="\d+\u00a0%', shown)


def test_a_picture_is_shown_in_every_style_the_served_one_first(
    lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    serve_styles(finished.store, finished.project, finished.base.source)
    room.begin_style(finished.project, "shouted")

    shown = send(lead, picture()).get_data(as_text=True)
    assert re.findall(r"<h2 id=.*?in the style (.*?)\s*(<span|</h2>)", shown) == [
        ("<bdi>shouted</bdi>", "<span"), ("without a name", "</h2>"),
    ]  # fmt: skip


def test_another_version_is_shown_beside_the_champion(lead: FlaskClient, finished: FinishedRun) -> None:
    champion = finished.store.champion(finished.project.id).version

    shown = send(lead, picture(), version=finished.version.version).get_data(as_text=True)

    assert re.findall(r'<h2 id="version-\d">(\S+)', shown) == [champion, finished.version.version]


def test_nothing_of_the_picture_is_kept(lead: FlaskClient, room: Room) -> None:
    send(lead, picture())  # from here on the champion is loaded
    before = files_of(room)

    send(lead, picture())

    assert files_of(room) == before


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "No picture was chosen"),
        (b"", "The image file is empty"),
        (b"<svg></svg>", "SVG drawing"),
        (picture()[:60], "damaged"),
    ],
)
def test_an_upload_that_is_no_picture_is_refused_in_a_sentence(
    lead: FlaskClient, data: bytes | None, message: str
) -> None:
    answer = send(lead, data)
    assert (answer.status_code, message in answer.get_data(as_text=True)) == (422, True)


def test_a_file_over_the_limit_is_refused(lead: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "image_limits", ImageLimits(max_bytes=1_000))
    answer = send(lead, b"\0" * 1_001)
    assert "1,001 bytes; the limit is 1,000" in answer.get_data(as_text=True)


def test_an_upload_far_over_the_limit_is_not_read(lead: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "image_limits", ImageLimits(max_bytes=1_000_000))

    form = {"content_type": "multipart/form-data; boundary=x", "environ_overrides": {"CONTENT_LENGTH": "3000000"}}
    answer = lead.post(PAGE, **form)

    assert answer.status_code == 413
    assert "The picture is larger than 1 MB" in answer.get_data(as_text=True)


def test_a_reader_may_try_a_picture_too(reader: FlaskClient) -> None:
    assert send(reader, picture()).status_code == 200


def test_by_keys_one_walks_through_the_words_and_sees_where_each_looked(page: Page, served: str) -> None:
    sign_in(page, served)
    page.goto(f"{served}{PAGE}")
    page.set_input_files("input[type=file]", {"name": "a.png", "mimeType": "image/png", "buffer": picture()})
    press(page, "c")
    veils = page.locator(".veil")
    expect(veils.first).to_be_attached()
    expect(page.locator(".veil:visible")).to_have_count(0)

    page.keyboard.press("w")
    expect(veils.nth(0)).to_be_visible()
    page.keyboard.press("ArrowRight")

    expect(veils.nth(1)).to_be_visible()
    expect(veils.nth(0)).to_be_hidden()


def test_a_wrong_file_is_said_in_place(page: Page, served: str) -> None:
    sign_in(page, served)
    page.goto(f"{served}{PAGE}")
    page.set_input_files("input[type=file]", {"name": "a.png", "mimeType": "image/png", "buffer": b"<svg></svg>"})
    page.get_by_text("Caption it").click()

    expect(page.get_by_role("alert")).to_contain_text("SVG drawing")


def test_captions_stay_in_the_models_colour(page: Page, served: str) -> None:
    sign_in(page, served)
    page.goto(f"{served}{PAGE}")
    page.set_input_files("input[type=file]", {"name": "a.png", "mimeType": "image/png", "buffer": picture()})
    page.get_by_text("Caption it").click()
    shown = page.locator(".word > span:not(.unseen), .beams .model, .answers .tag.champion")
    expect(shown.first).to_be_visible()

    page.wait_for_timeout(5000)

    looks = shown.evaluate_all(
        "items => items.map(item => [getComputedStyle(item).opacity, getComputedStyle(item).color])"
    )
    model = page.evaluate("getComputedStyle(document.querySelector('.answers .model')).color")
    assert len(looks) >= 3
    assert {tuple(look) for look in looks} == {("1", model)}
