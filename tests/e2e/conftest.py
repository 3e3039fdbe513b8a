"""Somebody who has typed `make run`, shared by all stories; each works in what the ones before have left."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.person import Person, newcomer

_READY_WITHIN_S = 1200  # the first start; Label Studio may have to be installed


@pytest.fixture(scope="package")
def person(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Person]:
    """Somebody who has just typed `make run`, with a screen that says it is ready."""
    somebody = newcomer(tmp_path_factory.mktemp("person"), cache=cache)
    up = somebody.starts()
    try:
        somebody.waits_until_ready(up, within_s=_READY_WITHIN_S)
        yield somebody
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)


@pytest.fixture(scope="package")
def studio(person: Person) -> dict[str, Any]:
    found: dict[str, Any] = person.asks("status")["label_studio"]
    return found


@pytest.fixture(scope="package")
def api(studio: dict[str, Any]) -> Iterator[httpx.Client]:
    """Label Studio's own API, for what a person would find tiring: reading 160 tasks, correcting dozens."""
    headers = {"Authorization": f"Token {studio['token']}"}
    with httpx.Client(base_url=studio["url"], headers=headers, timeout=120) as client:
        yield client
