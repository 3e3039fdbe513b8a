"""Legacy tokens and personal access tokens, as a real Label Studio makes them."""

import pytest
from tests.support.servers import LabelStudioServer, personal_access_token

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.errors import LabelStudioError


@pytest.fixture(scope="module")
def personal_token(label_studio_server: LabelStudioServer) -> str:
    return personal_access_token(label_studio_server)


def test_a_personal_access_token_is_accepted(label_studio_server: LabelStudioServer, personal_token: str) -> None:
    client = LabelStudio(label_studio_server.url, personal_token)
    assert client.who_am_i()["email"] == label_studio_server.email
    assert client.authorization().startswith("Bearer ")
    client.close()


def test_a_short_lived_token_is_used_again_and_renewed_when_refused(
    label_studio_server: LabelStudioServer, personal_token: str
) -> None:
    client = LabelStudio(label_studio_server.url, personal_token)
    first = client.authorization()
    assert client.authorization() == first
    client._authorization._access = "refused"
    assert client.who_am_i()["email"] == label_studio_server.email
    client.close()


def test_a_wrong_token_is_said_to_be_wrong(label_studio_server: LabelStudioServer, personal_token: str) -> None:
    for wrong in ("0" * 40, personal_token[:-3] + "abc", "no token\n"):
        client = LabelStudio(label_studio_server.url, wrong)
        with pytest.raises(LabelStudioError, match=r"does not accept the access token.*LABEL_STUDIO_API_KEY") as caught:
            client.who_am_i()
        assert caught.value.status == 401
        assert wrong.strip() not in str(caught.value)
        client.close()


def test_no_token_shows_in_a_repr(label_studio: LabelStudio, label_studio_server: LabelStudioServer) -> None:
    assert label_studio_server.token not in repr(label_studio)
