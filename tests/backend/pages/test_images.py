"""Pictures: small and large, kept by the browser, and never anything but what we decoded ourselves."""

import io

import pytest
from flask.testing import FlaskClient
from PIL import Image
from tests.support.versions import FinishedRun

from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.dataset import corrections


@pytest.fixture
def large(home: Home, finished: FinishedRun) -> str:
    """The hash of a picture of 2000 × 1000 pixels, with transparency."""
    buffer = io.BytesIO()
    Image.new("RGBA", (2000, 1000), (200, 30, 30, 128)).save(buffer, "PNG")
    return corrections.write_image(home, buffer.getvalue(), limits=ImageLimits()).sha256


@pytest.mark.parametrize(("size", "expected"), [("small", (320, 160)), ("large", (1600, 800))])
def test_a_picture_comes_as_jpeg_in_the_size_that_is_asked_for(
    lead: FlaskClient, large: str, size: str, expected: tuple[int, int]
) -> None:
    answer = lead.get(f"/images/{large}", query_string={"size": size})

    picture = Image.open(io.BytesIO(answer.data))
    assert (answer.mimetype, picture.format, picture.size) == ("image/jpeg", "JPEG", expected)


def test_a_small_picture_is_not_blown_up(lead: FlaskClient, finished: FinishedRun) -> None:
    answer = lead.get(f"/images/{next(iter(finished.held_out))}")

    assert Image.open(io.BytesIO(answer.data)).size == (64, 48)


def test_a_browser_may_keep_it_for_a_year_and_share_it_with_nobody(lead: FlaskClient, large: str) -> None:
    assert lead.get(f"/images/{large}").headers["Cache-Control"] == "private, max-age=31536000, immutable"


def test_a_thumbnail_is_made_once(lead: FlaskClient, large: str, home: Home) -> None:
    first = lead.get(f"/images/{large}").data
    home.image(large).unlink()

    assert lead.get(f"/images/{large}").data == first


@pytest.mark.parametrize(
    "name",
    [
        "0" * 64,
        "0" * 63,
        "A" * 64,
        "..%2f..%2fsecrets.json",
        "%2e%2e/secrets.json",
        "0" * 64 + "%0a",
        "0" * 64 + ".jpg",
    ],
)
def test_a_name_that_is_none_of_a_picture_leads_nowhere(lead: FlaskClient, home: Home, name: str) -> None:
    home.secrets.write_text('{"password": "right"}')

    assert lead.get(f"/images/{name}").status_code == 404


def test_a_size_that_there_is_not_leads_nowhere(lead: FlaskClient, large: str) -> None:
    assert lead.get(f"/images/{large}", query_string={"size": "../small"}).status_code == 404


def test_a_damaged_copy_is_told_and_leaves_no_thumbnail(lead: FlaskClient, large: str, home: Home) -> None:
    path = home.image(large)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:100])

    answer = lead.get(f"/images/{large}")

    assert (answer.status_code, "gone or damaged" in answer.get_data(as_text=True)) == (404, True)
    assert not list(home.thumbnails.rglob("*.jpg"))
