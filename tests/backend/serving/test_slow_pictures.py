"""Pictures whose servers do not answer delay nobody's captions but those of the request that wants them."""

import base64
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.models import tiny_base
from tests.support.pictures import picture
from tests.support.service import CONFIG, caption_service

from captionloop.backend.serving.caption_service import CaptionService
from captionloop.model.database import Database


@pytest.fixture
def let() -> Iterator[threading.Event]:
    """Set once the slow servers are to answer."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def service(database: Database, redis_url: str, tmp_path: Path, let: threading.Event) -> Iterator[CaptionService]:
    def read(value: str, task_id: int) -> bytes:
        if value == "slow":
            let.wait(60)
        return base64.b64decode(picture("red").partition(",")[2])

    with caption_service(database, redis_url, tmp_path, tiny_base(tmp_path / "base")) as made:
        made._read_image = read
        yield made
        let.set()


@pytest.mark.parametrize("project", [1, 2], ids=["of the same project", "of another project"])
@pytest.mark.parametrize("slow", [8, 100])
def test_slow_pictures_of_one_request_delay_no_other(
    service: CaptionService, let: threading.Event, slow: int, project: int
) -> None:
    service.predict(project, CONFIG, [{"id": 1, "data": {"photo": "fast"}}])  # loads the model
    tasks = [{"id": number, "data": {"photo": "slow"}} for number in range(slow)]
    other = threading.Thread(target=service.predict, args=(1, CONFIG, tasks))
    other.start()
    time.sleep(0.5)
    begun = time.monotonic()

    entries = service.predict(project, CONFIG, [{"id": n, "data": {"photo": "fast"}} for n in range(10)])

    assert all(entry["result"] for entry in entries)
    assert time.monotonic() - begun < 20
    assert other.is_alive()
    let.set()
    other.join()
