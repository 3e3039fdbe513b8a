"""A project of a directory of pictures, in a real Label Studio: each file once, whatever interrupts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.support.attachable import attachable_backend
from tests.support.datasets import picture_bytes, write_pictures
from tests.support.faults import Fault, faulty_proxy
from tests.support.servers import LabelStudioServer, personal_access_token, running_label_studio, signed_in

from captionloop.backend.cli import main
from captionloop.backend.folders.picture_folder import FolderPicture
from captionloop.backend.folders.places import LocalFiles, Uploads, find_place
from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.client import BACKEND_TITLE, IMPORTED_VERSION, LabelStudio
from captionloop.backend.label_studio.label_config import parse_label_config
from captionloop.home import Home
from captionloop.jobs.context import opened
from captionloop.jobs.project.sync import sync
from captionloop.model.database import Database, Project, RunKind
from captionloop.model.dataset.corrections import training_examples
from captionloop.model.dataset.picture_names import names_of


class Person:
    """Somebody who types `captionloop project create`."""

    def __init__(self, server: LabelStudioServer, capsys: pytest.CaptureFixture[str]) -> None:
        self.studio = LabelStudio(server.url, server.token)
        self.title = f"Pictures {uuid4().hex[:12]}"
        self._capsys = capsys
        self.err = ""

    def arguments(self, images: Path, *more: str | Path) -> list[str]:
        return ["project", "create", "--title", self.title, "--images", str(images), *map(str, more)]

    def creates(self, images: Path, *more: str | Path, code: int = 0) -> Json:
        with pytest.raises(SystemExit) as end:
            main([*self.arguments(images, *more), "--json"])
        out, self.err = self._capsys.readouterr()
        assert (end.value.code or 0) == code, self.err
        return dict(json.loads(out)) if code in (0, 6) else {}

    def starts(self, images: Path, *more: str | Path) -> "subprocess.Popen[bytes]":
        program = f"from captionloop.backend.cli import main; main({self.arguments(images, *more)!r})"
        return subprocess.Popen([sys.executable, "-c", program], env=os.environ, stderr=subprocess.DEVNULL)

    def projects(self) -> list[int]:
        return [project["id"] for project in self.studio.projects() if project["title"] == self.title]

    def files(self, project: int) -> list[str]:
        return [str(task.data["file"]) for task in self.studio.all_tasks(project)]

    def tasks(self, project: int) -> list[Json]:
        return self.studio.tasks(project, [task.id for task in self.studio.all_tasks(project)])


@pytest.fixture
def person(
    label_studio_server: LabelStudioServer,
    database: Database,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Person]:
    with attachable_backend() as backend:
        for name, value in {
            "LABEL_STUDIO_URL": label_studio_server.url,
            "LABEL_STUDIO_API_KEY": label_studio_server.token,
            "REDIS_URL": redis_url,
            "CAPTIONLOOP_URL": backend,
        }.items():
            monkeypatch.setenv(name, value)
        person = Person(label_studio_server, capsys)
        yield person
        person.studio.close()


NAMES = ["a.png", "b.jpg", "sub/a.png", "sub/ü ber #1.png"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "photos", NAMES)
    return tmp_path / "photos"


def many(directory: Path, count: int) -> list[str]:
    names = [f"{number % 7}/{number:04}.png" for number in range(count)]
    write_pictures(directory, names)
    return names


def bytes_of(server: LabelStudioServer, address: str) -> bytes:
    return httpx.get(server.url + address, headers={"Authorization": f"Token {server.token}"}, timeout=60).content


def newest(task: Json) -> Json:
    return dict(max(task["predictions"], key=lambda prediction: prediction["id"]))


def text(item: Json) -> list[str]:
    return [text for result in item["result"] for text in result["value"]["text"]]


class TestAProject:
    def test_has_a_task_for_each_picture_that_shows_it(
        self, person: Person, photos: Path, label_studio_server: LabelStudioServer
    ) -> None:
        made = person.creates(photos)
        assert (made["new"], made["known"], made["bad"], made["is_new"]) == (4, 0, 0, True)
        assert "are copied into Label Studio (uploaded), since it does not see that directory" in person.err
        tasks = list(person.studio.all_tasks(made["project_id"]))
        assert [task.data["file"] for task in tasks] == NAMES
        for task in tasks:
            assert bytes_of(label_studio_server, task.data["image"]) == (photos / task.data["file"]).read_bytes()

    def test_has_our_label_config_and_backend_and_gets_suggestions(
        self, person: Person, photos: Path, database: Database
    ) -> None:
        made = person.creates(photos)
        project = person.studio.project(made["project_id"])
        (box,) = parse_label_config(project["label_config"]).boxes
        assert (box.from_name, box.image_field, box.max_submissions) == ("caption", "image", 1)
        assert project["model_version"] == BACKEND_TITLE
        (backend,) = person.studio.ml_backends(made["project_id"])
        assert backend["title"] == BACKEND_TITLE
        with opened() as context:
            run = context.queue.runs.get(made["run"])
        assert run is not None
        assert (run.kind, run.settings["only_missing"]) == (RunKind.ANNOTATE, True)

    def test_may_call_its_text_box_otherwise(self, person: Person, photos: Path) -> None:
        made = person.creates(photos, "--control", "alt_text")
        config = person.studio.project(made["project_id"])["label_config"]
        assert parse_label_config(config).names == ["alt_text"]

    @pytest.mark.parametrize("control", ["1", 'a"b', "a b", ""])
    def test_has_no_text_box_of_an_impossible_name(self, person: Person, photos: Path, control: str) -> None:
        person.creates(photos, "--control", control or " ", code=2)
        assert person.projects() == []

    def test_gets_what_is_new_and_nothing_twice(self, person: Person, photos: Path) -> None:
        first = person.creates(photos)
        write_pictures(photos, ["c/new.png"])
        (photos / "c/new.png").write_bytes(picture_bytes(99))
        again = person.creates(photos)
        assert (again["project_id"], again["is_new"]) == (first["project_id"], False)
        assert (again["new"], again["known"]) == (1, 4)
        assert sorted(person.files(first["project_id"])) == sorted([*NAMES, "c/new.png"])

    def test_does_not_get_back_what_somebody_deleted_there(self, person: Person, photos: Path) -> None:
        project = person.creates(photos)["project_id"]
        task = next(iter(person.studio.all_tasks(project)))
        person.studio.delete_tasks(project, [task.id])
        assert person.creates(photos)["new"] == 0
        assert len(person.files(project)) == 3

    def test_is_another_for_another_directory_or_if_one_asks(
        self, person: Person, photos: Path, tmp_path: Path
    ) -> None:
        write_pictures(tmp_path / "others", ["a.png"])
        made = [person.creates(photos), person.creates(tmp_path / "others"), person.creates(photos, "--new")]
        assert len({project["project_id"] for project in made}) == 3
        assert person.creates(photos)["project_id"] == made[2]["project_id"]

    def test_is_made_anew_if_it_was_deleted(
        self, person: Person, photos: Path, label_studio_server: LabelStudioServer
    ) -> None:
        first = person.creates(photos)["project_id"]
        with signed_in(label_studio_server) as browser:
            browser.delete(f"/api/projects/{first}/").raise_for_status()
        again = person.creates(photos)
        assert (again["project_id"] != first, again["new"]) == (True, 4)

    def test_is_found_after_a_crash_before_it_was_noted(self, person: Person, photos: Path, home: Home) -> None:
        first = person.creates(photos)["project_id"]
        (home.root / "folders.json").unlink()
        assert person.creates(photos)["project_id"] == first

    def test_remembers_the_names_of_its_pictures(self, person: Person, photos: Path, database: Database) -> None:
        project = person.creates(photos)["project_id"]
        with database.reading() as session:
            row = session.query(Project).where(Project.label_studio_id == project).one()
            image = FolderPicture("x", (photos / "sub/a.png").read_bytes(), "png", ()).sha256
            assert names_of(session, row.id, [image]) == {image: ["sub/a.png"]}

    def test_takes_a_personal_access_token(
        self, person: Person, photos: Path, label_studio_server: LabelStudioServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", personal_access_token(label_studio_server))
        assert person.creates(photos)["new"] == 4


class TestBadPictures:
    def test_are_named_and_the_others_added(self, person: Person, photos: Path) -> None:
        from PIL import Image

        (photos / "bad.png").write_bytes(b"no picture")
        (photos / "empty.jpg").write_bytes(b"")
        Image.new("RGB", (8, 8)).save(photos / "scan.tiff")
        (photos / "link.png").symlink_to("/etc/hostname")
        (photos / os.fsdecode(b"latin-\xe9.png")).write_bytes(picture_bytes(7))
        (photos / "moving.gif").write_bytes(picture_bytes(8, kind="GIF"))
        made = person.creates(photos, code=6)
        assert (made["new"], made["bad"]) == (5, 5)
        for name, reason in {
            "bad.png": "not an image",
            "empty.jpg": "The image file is empty",
            "scan.tiff": "Label Studio shows no TIFF pictures; save it as JPEG or PNG",
            "link.png": "a link that leads out",
            "latin-": "a name that is no text in UTF-8; rename it",
        }.items():
            (line,) = [line for line in person.err.splitlines() if f"/{name}" in line]
            assert reason in line

    def test_alone_make_no_project(self, person: Person, tmp_path: Path) -> None:
        (tmp_path / "photos").mkdir()
        person.creates(tmp_path / "photos", code=4)
        assert "There are no pictures in" in person.err
        (tmp_path / "photos" / "bad.png").write_bytes(b"no picture")
        person.creates(tmp_path / "photos", code=4)
        assert "can be used" in person.err
        assert person.projects() == []


class TestCaptions:
    def test_beside_the_pictures_are_what_tasks_show(self, person: Person, photos: Path) -> None:
        for name in NAMES[:3]:
            (photos / name).with_suffix(".txt").write_text(f"of {name}")
        made = person.creates(photos)
        assert (made["captions"], made["bad"]) == (3, 0)
        tasks = {task["data"]["file"]: task for task in person.tasks(made["project_id"])}
        for name in NAMES[:3]:
            (prediction,) = tasks[name]["predictions"]
            assert (text(prediction), prediction["model_version"]) == ([f"of {name}"], IMPORTED_VERSION)
        assert tasks[NAMES[3]]["predictions"] == []
        assert "The 1 without one show the model's suggestion if opened from the list" in made["shows"]
        assert person.studio.project(made["project_id"])["model_version"] == IMPORTED_VERSION
        person.creates(photos)  # connects again
        assert person.studio.project(made["project_id"])["model_version"] == IMPORTED_VERSION

    def test_whose_tasks_were_all_deleted_are_not_asked_for(self, person: Person, photos: Path) -> None:
        for name in NAMES[:2]:
            (photos / name).with_suffix(".txt").write_text(f"of {name}")
        project = person.creates(photos)["project_id"]
        person.studio.update_project(project, model_version=BACKEND_TITLE)
        tasks = [task.id for task in person.studio.all_tasks(project) if task.data["file"] in NAMES[:2]]
        person.studio.delete_tasks(project, tasks)
        assert person.creates(photos)["shows"] == ""

    def test_of_a_file_may_be_several_of_which_the_first_is_shown(
        self, person: Person, photos: Path, tmp_path: Path
    ) -> None:
        rows = "".join(f"{name},{n} of {name}\n" for n in ("first", "second") for name in NAMES)
        (tmp_path / "captions.csv").write_text(f"image,caption\n{rows}gone.png,of nothing\n")
        made = person.creates(photos, "--captions", tmp_path / "captions.csv", code=6)
        assert "There is no picture 'gone.png'" in person.err
        for task in person.tasks(made["project_id"]):
            assert text(newest(task)) == [f"first of {task['data']['file']}"]
            assert len(task["predictions"]) == 2

    def test_of_few_pictures_do_not_hide_the_models(self, person: Person, photos: Path) -> None:
        (photos / "a.txt").write_text("a cat")
        made = person.creates(photos)
        assert made["shows"].startswith("1 of 4 pictures have captions, so tasks show the model's suggestions")
        assert person.studio.project(made["project_id"])["model_version"] == BACKEND_TITLE

    def test_as_corrections_are_learnt_from(self, person: Person, photos: Path, database: Database) -> None:
        rows = [{"file_name": name, "text": f"of {name}"} for name in [*NAMES, "a.png"]]
        rows[-1]["text"] = "a second one"
        (photos / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        made = person.creates(photos, "--as", "corrections")
        assert person.studio.project(made["project_id"])["model_version"] == BACKEND_TITLE
        with opened() as context:
            with database.reading() as session:
                row = session.query(Project).where(Project.label_studio_id == made["project_id"]).one().id
            assert sync(context, row).corrections == 4
            with database.reading() as session:
                found = sorted(example.caption for example in training_examples(session, row))
        assert found == sorted([*(f"of {name}" for name in NAMES), "a second one"])

    def test_that_cannot_be_read_make_no_project(self, person: Person, photos: Path) -> None:
        (photos / "captions.csv").write_text("a,b,c\na.png,1,2\n")
        person.creates(photos, code=1)
        assert "Name the captions with --captions" in person.err
        assert person.projects() == []


class TestLocalFiles:
    def test_are_read_where_they_lie_if_label_studio_sees_them(
        self, person: Person, label_studio_server: LabelStudioServer
    ) -> None:
        photos = label_studio_server.data / "folders" / uuid4().hex
        write_pictures(photos, NAMES)
        made = person.creates(photos)
        assert "Label Studio reads the pictures where they lie, since it sees" in person.err
        tasks = list(person.studio.all_tasks(made["project_id"]))
        assert [task.data["file"] for task in tasks] == NAMES
        for task in tasks:
            assert task.data["image"].startswith(f"/data/local-files/?d={photos.name}/")
            assert bytes_of(label_studio_server, task.data["image"]) == (photos / task.data["file"]).read_bytes()
        with opened() as context:
            assert context.read_image(tasks[3].data["image"], 1) == (photos / NAMES[3]).read_bytes()
        (storage,) = person.studio.local_files_storages(made["project_id"])
        synced = httpx.post(
            f"{label_studio_server.url}/api/storages/localfiles/{storage['id']}/sync",
            headers={"Authorization": f"Token {label_studio_server.token}"}, timeout=60,
        )  # fmt: skip
        assert synced.status_code == 200
        assert len(person.files(made["project_id"])) == 4
        assert person.creates(photos)["new"] == 0

    def test_of_another_directory_of_that_name_are_not_taken_for_these(
        self, person: Person, label_studio_server: LabelStudioServer
    ) -> None:
        photos = label_studio_server.data / "folders" / uuid4().hex
        write_pictures(photos, ["a.png"])
        project = person.studio.create_project(person.title, "<View/>")["id"]
        found = []
        for data in (picture_bytes(5), (photos / "a.png").read_bytes()):
            example = FolderPicture("a.png", data, "png", ())
            place = find_place(
                person.studio, project, directory=photos, seen_as=photos, example=example, read=lambda *_: b"other"
            ) if data == picture_bytes(5) else find_place(
                person.studio, project, directory=photos, seen_as=photos, example=example,
                read=lambda address, _: bytes_of(label_studio_server, address),
            )  # fmt: skip
            found.append(place)
        assert isinstance(found[0], Uploads)
        assert "sees another directory of that name" in found[0].said
        assert isinstance(found[1], LocalFiles)
        assert len(person.studio.local_files_storages(project)) == 1


Faults = Callable[[str, str], str | None]


def once(method: str, ending: str, fault: str) -> Faults:
    """The first request of this method and path meets the fault."""
    met: list[str] = []

    def decide(asked: str, path: str) -> str | None:
        if asked == method and path.partition("?")[0].endswith(ending) and not met:
            met.append(path)
            return fault
        return None

    return decide


class TestInTrouble:
    @pytest.mark.parametrize("fault", [Fault.DONE_BUT_500, Fault.CUT_OFF, Fault.BROKEN, Fault.TOO_MANY])
    @pytest.mark.parametrize("ending", ["/import", "/file-uploads"])
    def test_a_request_that_fails_leaves_each_file_once(
        self, person: Person, photos: Path, label_studio_server: LabelStudioServer, monkeypatch: pytest.MonkeyPatch,
        fault: str, ending: str,
    ) -> None:  # fmt: skip
        met: list[str] = []

        def decide(method: str, path: str) -> str | None:
            wanted = path.partition("?")[0].endswith(ending) and "commit_to_project" not in path
            if wanted and not met:
                met.append(path)
                return fault
            return None

        with faulty_proxy(label_studio_server.url, decide) as url:
            monkeypatch.setenv("LABEL_STUDIO_URL", url)
            made = person.creates(photos)
        assert met
        assert sorted(person.files(made["project_id"])) == NAMES

    def test_a_project_whose_making_was_cut_off_is_found(
        self, person: Person, photos: Path, label_studio_server: LabelStudioServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with faulty_proxy(label_studio_server.url, once("POST", "/api/projects/", Fault.CUT_OFF)) as url:
            monkeypatch.setenv("LABEL_STUDIO_URL", url)
            person.creates(photos, code=3)
            assert person.creates(photos)["new"] == 4
        assert len(person.projects()) == 1

    def test_two_at_once_make_one(self, person: Person, tmp_path: Path) -> None:
        many(tmp_path / "photos", 120)
        with person.starts(tmp_path / "photos") as first, person.starts(tmp_path / "photos") as second:
            codes = sorted([first.wait(120), second.wait(120)])
        assert codes in ([0, 0], [0, 5])
        (project,) = person.projects()
        assert len(set(person.files(project))) == len(person.files(project)) == 120

    def test_of_two_tasks_of_one_file_the_annotated_or_first_one_stays(self, person: Person, photos: Path) -> None:
        project = person.creates(photos)["project_id"]
        first = next(iter(person.studio.all_tasks(project)))
        person.studio.import_tasks(project, [{"data": first.data}])
        person.creates(photos)
        assert Counter(person.files(project)) == Counter(NAMES)
        assert first.id in [task.id for task in person.studio.all_tasks(project)]


@pytest.mark.slow
@pytest.mark.faults
class TestKills:
    @pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
    def test_at_any_moment_leave_one_project_with_each_file_once(
        self, person: Person, tmp_path: Path, sign: signal.Signals
    ) -> None:
        names = many(tmp_path / "photos", 300)
        for name in names[:200]:
            (tmp_path / "photos" / name).with_suffix(".txt").write_text(f"of {name}")
        ready: list[Callable[[], bool]] = [
            lambda: bool(person.projects()),
            lambda: self._count(person) > 0,
            lambda: self._count(person) > 120,
        ]
        for number, is_time in enumerate(ready):
            with person.starts(tmp_path / "photos") as process:
                while not is_time() and process.poll() is None:
                    time.sleep(0.02)
                time.sleep(0.05 * number)
                process.send_signal(sign)
                process.wait(60)
        made = person.creates(tmp_path / "photos")
        assert len(person.projects()) == 1
        assert Counter(person.files(made["project_id"])) == Counter(names)
        for task in person.tasks(made["project_id"]):
            texts = [text(prediction) for prediction in task["predictions"]]
            assert texts == ([[f"of {task['data']['file']}"]] if task["data"]["file"] in names[:200] else [])

    def test_of_label_studio_are_waited_for(
        self, person: Person, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = many(tmp_path / "photos", 400)
        with (
            running_label_studio(tmp_path / "own", cache=cache) as server,
            closing(LabelStudio(server.url, server.token)) as studio,
        ):
            monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
            monkeypatch.setenv("LABEL_STUDIO_API_KEY", server.token)
            person.studio = studio
            with person.starts(tmp_path / "photos") as process:
                while self._count(person) < 50:
                    assert process.poll() is None
                    time.sleep(0.05)
                server.kill()
                server.start()
                assert process.wait(300) == 0
            (project,) = person.projects()
            assert Counter(person.files(project)) == Counter(names)

    @staticmethod
    def _count(person: Person) -> int:
        projects: list[Any] = person.projects()
        return len(person.files(projects[0])) if projects else 0
