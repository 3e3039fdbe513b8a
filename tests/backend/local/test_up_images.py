"""`captionloop up --images DIR` as a person runs it: the pictures are served where they lie, and nothing else is."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from tests.support.datasets import picture_bytes, write_pictures
from tests.support.person import Person, newcomer

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.local import services

pytestmark = pytest.mark.slow

_START_WITHIN_S = 600
NAMES = ["a.png", "sub/b.jpg"]


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Person:
    return newcomer(tmp_path_factory.mktemp("person"), cache=cache)


@pytest.fixture(scope="module")
def photos(person: Person) -> Path:
    write_pictures(person.directory / "photos", NAMES)
    (person.directory / "photos" / "bad.png").write_bytes(b"no picture")
    (person.directory / "photos" / "a.txt").write_text("a cat")
    return person.directory / "photos"


@pytest.fixture
def running(person: Person, photos: Path) -> Iterator["subprocess.Popen[bytes]"]:
    up = person.starts("--images", str(photos))
    try:
        person.waits_until_ready(up, within_s=_START_WITHIN_S)
        yield up
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)


def _project(person: Person) -> int:
    (entry,) = json.loads((person.home.root / "folders.json").read_text())["projects"]
    return int(entry["project_id"])


def _studio(person: Person) -> LabelStudio:
    login = services.login(person.home)
    assert login is not None
    return LabelStudio(f"http://localhost:{person.environment['CAPTIONLOOP_LABEL_STUDIO_PORT']}", login.token.reveal())


def test_the_pictures_are_a_project_and_there_is_no_sample(
    person: Person, photos: Path, running: "subprocess.Popen[bytes]"
) -> None:
    screen = person.screen()
    assert "The project is there: 2 pictures added, 0 were there already, 1 cannot be used" in screen
    assert f"{photos / 'bad.png'}: The file is not an image" in screen
    assert "Label Studio reads the pictures where they lie" in screen
    with closing(_studio(person)) as studio:
        assert [project["title"] for project in studio.projects()] == ["photos"]
        tasks = list(studio.all_tasks(_project(person)))
        assert [task.data["file"] for task in tasks] == NAMES
        headers = {"Authorization": studio.authorization()}
        for task in tasks:
            found = httpx.get(studio.url + task.data["image"], headers=headers, timeout=60)
            assert found.content == (photos / task.data["file"]).read_bytes()
        other = httpx.get(f"{studio.url}/data/local-files/?d=../../etc/hostname", headers=headers, timeout=60)
        assert not other.is_success


def test_a_second_start_adds_what_is_new(person: Person, photos: Path) -> None:
    (photos / "c.png").write_bytes(picture_bytes(77))
    up = person.starts("--images", str(photos))
    try:
        person.waits_until_ready(up, within_s=_START_WITHIN_S)
        with closing(_studio(person)) as studio:
            assert sorted(task.data["file"] for task in studio.all_tasks(_project(person))) == [
                "a.png",
                "c.png",
                "sub/b.jpg",
            ]
        assert "The project is there: 1 pictures added, 2 were there already, 1 cannot be used" in person.screen()
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)
