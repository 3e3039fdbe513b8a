"""Responses that are late, truncated, compressed or missing."""

import time

import pytest
from tests.support.bad_server import PROJECT, BadServer

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.errors import LabelStudioError, RunCancelled


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_reading_is_tried_again(client: LabelStudio, bad_server: BadServer, status: int) -> None:
    bad_server.answer(status)
    bad_server.answer(status)
    bad_server.answer(200, PROJECT)
    assert client.project(3) == PROJECT
    assert bad_server.asked == ["GET /tools/ls/api/projects/3/"] * 3


def test_a_listener_is_called_before_each_further_try(client: LabelStudio, bad_server: BadServer) -> None:
    bad_server.answer(500)
    bad_server.answer(200, PROJECT, Content_Length="500")
    bad_server.answer(200, PROJECT)
    asked_before: list[int] = []
    with client.telling_of_retries(lambda: asked_before.append(len(bad_server.asked))):
        client.project(3)
    assert asked_before == [1, 2]


def test_a_listener_that_raises_ends_the_tries(client: LabelStudio, bad_server: BadServer) -> None:
    def stop() -> None:
        raise RunCancelled("The run was cancelled.")

    bad_server.answer(500)
    with client.telling_of_retries(stop), pytest.raises(RunCancelled):
        client.project(3)
    assert len(bad_server.asked) == 1


def test_a_server_that_goes_on_failing_is_given_up(client: LabelStudio, bad_server: BadServer) -> None:
    bad_server.answer(500, {"detail": "database is locked"})
    with pytest.raises(LabelStudioError, match=r"status 500 \(database is locked\)\. Try again") as caught:
        client.project(3)
    assert caught.value.status == 500
    assert len(bad_server.asked) == 3


@pytest.mark.parametrize(("status", "tries"), [(429, 3), (503, 3), (500, 1), (502, 1), (504, 1)])
def test_a_request_that_creates_something_is_repeated_only_when_nothing_was_done(
    client: LabelStudio, bad_server: BadServer, status: int, tries: int
) -> None:
    bad_server.answer(status)
    with pytest.raises(LabelStudioError):
        client.create_project("Once only", SAMPLE_LABEL_CONFIG)
    assert len(bad_server.asked) == tries


def test_the_client_waits_as_long_as_the_server_asks(client: LabelStudio, bad_server: BadServer) -> None:
    bad_server.answer(429, Retry_After="1")
    bad_server.answer(200, PROJECT)
    started = time.monotonic()
    client.project(3)
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "br", "identity, gzip"])
def test_an_answer_that_is_packed_is_not_unpacked(client: LabelStudio, bad_server: BadServer, coding: str) -> None:
    bad_server.answer(200, PROJECT, Content_Encoding=coding)
    with pytest.raises(LabelStudioError, match=f"in the coding '{coding}', which nobody asked for"):
        client.project(3)
    assert len(bad_server.asked) == 1


def test_an_answer_without_end_is_cut_off(
    client: LabelStudio, bad_server: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("captionloop.backend.label_studio.transport._LARGEST_ANSWER_BYTES", 1000)
    bad_server.answer(200, PROJECT | {"description": "x" * 2000})
    with pytest.raises(LabelStudioError, match="answered with more than 1,000 bytes"):
        client.project(3)
    assert len(bad_server.asked) == 1


def test_a_request_with_its_further_tries_ends(bad_server: BadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captionloop.backend.label_studio.transport._PATIENCE", 0.01)
    client = LabelStudio(bad_server.url, "0" * 40, retry_delays_s=(5.0,) * 10)
    for _ in range(10):
        bad_server.answer(200, PROJECT, Content_Length="500")
    with pytest.raises(LabelStudioError, match="cannot be reached"):
        client.project(3)
    assert len(bad_server.asked) == 1


def test_a_body_cut_off_is_tried_again(client: LabelStudio, bad_server: BadServer) -> None:
    bad_server.answer(200, PROJECT, Content_Length="500")
    bad_server.answer(200, PROJECT)
    assert client.project(3) == PROJECT


def test_a_server_that_is_not_there() -> None:
    client = LabelStudio("http://127.0.0.1:9", "0" * 40, retry_delays_s=(0.01,))
    with pytest.raises(LabelStudioError, match=r"cannot be reached .* Start it, or correct LABEL_STUDIO_URL") as caught:
        client.version()
    assert caught.value.status is None
    client.close()


def test_an_address_that_is_none() -> None:
    client = LabelStudio("localhost:8080", "0" * 40, retry_delays_s=())
    with pytest.raises(LabelStudioError, match="is no address of a Label Studio"):
        client.version()
    client.close()
