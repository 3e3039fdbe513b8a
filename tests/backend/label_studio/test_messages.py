"""Error messages when Label Studio refuses."""

from typing import Any

import pytest
from tests.support.bad_server import BadServer

from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.errors import LabelStudioError


@pytest.mark.parametrize(
    ("status", "body", "headers", "message"),
    [
        (
            401,
            {"detail": "Invalid token."},
            {},
            r"does not accept the access token \(Invalid token\)\. Copy a current",
        ),
        (403, {"detail": "Not yours."}, {}, r"does not allow this account to use the project 3 \(Not yours\)"),
        (404, {"detail": "Not found."}, {}, "has no project 3, or this account cannot see it"),
        (404, b"<html>", {}, "404 with a web page: there seems to be no Label Studio"),
        (200, b"<html>", {}, "a web page instead of JSON. Check that LABEL_STUDIO_URL"),
        (
            302,
            b"",
            {"Location": "https://elsewhere.test/"},
            "redirects to 'https://elsewhere.test/'. Set LABEL_STUDIO",
        ),
        (
            400,
            {"detail": "Validation error", "validation_errors": {"title": ["Too short."]}},
            {},
            r"refused the request about the project 3 \(400\) \(title: Too short\)",
        ),
        (500, b"[" * 100_000, {"Content-Type": "application/json"}, r"failed with status 500\. Try again"),
        (
            500,
            b'{"detail": ' + b"[" * 600 + b"]" * 600 + b"}",
            {"Content-Type": "application/json"},
            r"failed with status 500\. Try again",
        ),
    ],
)
def test_a_refusal_is_one_sentence_with_the_remedy(
    client: LabelStudio, bad_server: BadServer, status: int, body: Any, headers: Json, message: str
) -> None:
    bad_server.answer(status, body, **headers)
    with pytest.raises(LabelStudioError, match=message) as caught:
        client.project(3)
    assert caught.value.status == status
