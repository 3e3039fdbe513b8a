"""A client of a real Label Studio, and one of a server that answers whatever a test wants."""

from collections.abc import Iterator

import pytest
from tests.support.bad_server import BadServer, running_bad_server
from tests.support.servers import LabelStudioServer

from captionloop.backend.label_studio.client import LabelStudio


@pytest.fixture(scope="module")
def label_studio(label_studio_server: LabelStudioServer) -> Iterator[LabelStudio]:
    client = LabelStudio(label_studio_server.url, label_studio_server.token)
    yield client
    client.close()


@pytest.fixture
def bad_server() -> Iterator[BadServer]:
    with running_bad_server() as running:
        yield running


@pytest.fixture
def client(bad_server: BadServer) -> Iterator[LabelStudio]:
    made = LabelStudio(bad_server.url + "/tools/ls/", "0" * 40, retry_delays_s=(0.01, 0.01))
    yield made
    made.close()
