import io
from collections.abc import Iterator
from itertools import islice

import pytest
from PIL import Image
from tests.support.servers import LabelStudioServer

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.local import sample
from captionloop.home import Home, read_json


def _nothing(share: float) -> None:
    pass


@pytest.fixture
def studio(label_studio_server: LabelStudioServer) -> Iterator[LabelStudio]:
    client = LabelStudio(label_studio_server.url, label_studio_server.token)
    for project in list(client.projects()):
        if project["title"] == sample.TITLE:  # of another test
            client.update_project(project["id"], title="An older sample")
    yield client
    client.close()


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "_IMAGES", 6)
    monkeypatch.setattr(sample, "_PER_UPLOAD", 4)


def _ensure(studio: LabelStudio, home: Home) -> int:
    return sample.ensure_sample(studio, home, server="local", progress=_nothing)


class TestPictures:
    def test_sample_pictures_are_the_same_each_time(self) -> None:
        assert list(sample.pictures()) == list(sample.pictures())

    def test_sample_pictures_are_sharp_enough_to_look_at(self) -> None:
        for _, _, png in sample.pictures():
            assert Image.open(io.BytesIO(png)).size == (480, 480)

    def test_each_sample_picture_has_a_name_and_a_caption(self) -> None:
        names, captions, _ = zip(*sample.pictures(), strict=True)
        assert names[:2] == ("scene-001.png", "scene-002.png")
        assert all(caption.strip() for caption in captions)

    def test_the_sample_has_160_pictures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        assert sample._IMAGES == 160


class TestProject:
    def test_the_sample_project_is_made_once(self, studio: LabelStudio, home: Home) -> None:
        first = _ensure(studio, home)
        assert _ensure(studio, home) == first
        assert len(list(studio.all_tasks(first))) == 6
        assert studio.project(first)["title"] == sample.TITLE

    def test_the_manifest_knows_each_pictures_caption(self, studio: LabelStudio, home: Home) -> None:
        _ensure(studio, home)
        expected = {name: caption for name, caption, _ in sample.pictures()}
        assert read_json(home.root / "sample.json")["images"] == expected

    def test_the_tasks_hold_the_pictures_under_their_names(self, studio: LabelStudio, home: Home) -> None:
        tasks = studio.all_tasks(_ensure(studio, home))
        assert sorted(sample._file_name(task.data) for task in tasks) == [name for name, _, _ in sample.pictures()]

    def test_a_project_that_a_crash_left_half_filled_is_completed(
        self, studio: LabelStudio, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(*_: object) -> Iterator[tuple[str, str, bytes]]:
            yield from islice(list_of_pictures, 5)
            raise KeyboardInterrupt

        list_of_pictures = list(sample.pictures())
        with monkeypatch.context() as patch:
            patch.setattr(sample, "pictures", crash)
            with pytest.raises(KeyboardInterrupt):
                _ensure(studio, home)
        project_id = _ensure(studio, home)
        names = sorted(sample._file_name(task.data) for task in studio.all_tasks(project_id))
        assert names == [name for name, _, _ in list_of_pictures]

    def test_a_crash_before_the_manifest_does_not_make_a_second_project(self, studio: LabelStudio, home: Home) -> None:
        first = _ensure(studio, home)
        (home.root / "sample.json").unlink()
        assert _ensure(studio, home) == first
        assert len(list(studio.all_tasks(first))) == 6

    def test_the_sample_on_another_server_is_another_project(self, studio: LabelStudio, home: Home) -> None:
        first = _ensure(studio, home)
        studio.update_project(first, title="Renamed by its owner")
        assert sample.ensure_sample(studio, home, server="elsewhere", progress=_nothing) != first
