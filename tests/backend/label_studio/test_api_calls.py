"""Responses that lack expected fields."""

import re
from typing import Any

import pytest
from tests.support.bad_server import PROJECT, BadServer

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.errors import LabelStudioError


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        pytest.param([1, 2], "which is no object", id="a list"),
        pytest.param(None, "which is no object", id="null"),
        pytest.param(PROJECT | {"id": "three"}, "in which 'id' is no int", id="a field of another type"),
        pytest.param({"id": 3}, "in which 'title' is no str", id="a field that is missing"),
    ],
)
def test_an_answer_that_is_no_project_is_an_error(
    client: LabelStudio, bad_server: BadServer, answer: Any, found: str
) -> None:
    bad_server.answer(200, answer)
    said = f"answered GET /api/projects/3/ with something unexpected, {found}."
    with pytest.raises(LabelStudioError, match=re.escape(said)):
        client.project(3)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        pytest.param({"detail": "no"}, "which is no list", id="an object"),
        pytest.param([{"id": 1, "url": "http://x"}, 2], "which is no object", id="a list of something else"),
        pytest.param([{"id": 1}], "in which 'url' is no str", id="an item without a field"),
    ],
)
def test_an_answer_that_is_no_list_of_webhooks_is_an_error(
    client: LabelStudio, bad_server: BadServer, answer: Any, found: str
) -> None:
    bad_server.answer(200, answer)
    said = f"answered GET /api/webhooks/ with something unexpected, {found}."
    with pytest.raises(LabelStudioError, match=re.escape(said)):
        client.webhooks(3)


def test_deleting_what_is_gone_is_fine(client: LabelStudio, bad_server: BadServer) -> None:
    bad_server.answer(404, {"detail": "Not found."})
    client.delete_webhook(1)
    assert bad_server.asked == ["DELETE /tools/ls/api/webhooks/1/"]
