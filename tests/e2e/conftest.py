"""Somebody who has typed `make run`, shared by all stories; each works in what the ones before have left."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.backend import Backend
from tests.support.person import Person, newcomer
from tests.support.servers import STUDIO_VERSION, LabelStudioServer

from captionloop.settings import LABEL_STUDIO_VERSION

_READY_WITHIN_S = 1200  # the first start; Label Studio may have to be installed


@pytest.fixture(scope="package")
def own_studio(request: pytest.FixtureRequest) -> LabelStudioServer | None:
    """A Label Studio that the person has already: where another version is tried than the one that `up` installs."""
    found: LabelStudioServer | None = None
    if STUDIO_VERSION != LABEL_STUDIO_VERSION:
        found = request.getfixturevalue("label_studio_server")
    return found


@pytest.fixture(scope="package")
def person(
    tmp_path_factory: pytest.TempPathFactory, cache: Path, own_studio: LabelStudioServer | None
) -> Iterator[Person]:
    """Somebody who has just typed `make run`, with a screen that says it is ready."""
    somebody = newcomer(tmp_path_factory.mktemp("person"), cache=cache, label_studio=own_studio)
    up = somebody.starts()
    try:
        somebody.waits_until_ready(up, within_s=_READY_WITHIN_S)
        yield somebody
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)


@pytest.fixture(scope="package")
def studio(person: Person, own_studio: LabelStudioServer | None) -> dict[str, Any]:
    found: dict[str, Any] = person.asks("status")["label_studio"]
    if own_studio is not None:  # whose login Captionloop does not know
        found |= {"email": own_studio.email, "password": own_studio.password, "token": own_studio.token}
    return found


@pytest.fixture(scope="package")
def api(studio: dict[str, Any]) -> Iterator[httpx.Client]:
    """Label Studio's own API, for what a person would find tiring: reading 160 tasks, correcting dozens."""
    headers = {"Authorization": f"Token {studio['token']}"}
    with httpx.Client(base_url=studio["url"], headers=headers, timeout=120) as client:
        yield client


@pytest.fixture(scope="package")
def backend_of(person: Person) -> Iterator[Callable[[int], Backend]]:
    """Captionloop's own API for a project, by its number in Label Studio."""
    found = person.asks("status")["backend"]
    with ExitStack() as stack:

        def of(project_id: int) -> Backend:
            address = f"{found['url']}/api/v1/projects/{project_id}"
            return Backend(stack.enter_context(httpx.Client(base_url=address, auth=(found["user"], found["password"]))))

        yield of


@pytest.fixture(scope="package")
def backend(backend_of: Callable[[int], Backend], studio: dict[str, Any]) -> Backend:
    """The same for the sample project."""
    return backend_of(studio["project_id"])
