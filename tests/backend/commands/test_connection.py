"""`captionloop connect`, `sync`, `project`, `annotate`, as they are called, with a Label Studio by script."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.label_configs import label_config as config
from tests.support.models import add_project, tiny_base
from tests.support.pictures import picture
from tests.support.scripted_studio import TOKEN, Reply, ScriptedStudio, scripted_studio

from captionloop.backend.cli import main
from captionloop.jobs import entry
from captionloop.jobs.context import opened
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.model.database import Database, Project
from captionloop.model.dataset.corrections import training_examples

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch, redis_url: str, tmp_path: Path) -> Iterator[ScriptedStudio]:
    with scripted_studio() as running:
        for name, value in {
            "LABEL_STUDIO_URL": running.url,
            "LABEL_STUDIO_API_KEY": TOKEN,
            "REDIS_URL": redis_url,
            "CAPTIONLOOP_MODEL": tiny_base(tmp_path / "base").source,
        }.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def call(studio: ScriptedStudio, database: Database, capsys: pytest.CaptureFixture[str]) -> Call:
    def run_command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run_command


@pytest.fixture
def project(studio: ScriptedStudio, database: Database) -> Project:
    return add_project(database, server=studio.url)


class TestConnect:
    def test_names_the_text_box_and_the_others(self, call: Call, studio: ScriptedStudio) -> None:
        studio.project["label_config"] = config("title", "caption")

        code, out, _ = call("connect", "--project", "1")

        assert code == 0
        assert "Captions go into the text box 'caption'. (Others: 'title'. Choose with --control.)" in out

    def test_takes_the_one_that_is_named(self, call: Call, studio: ScriptedStudio) -> None:
        studio.project["label_config"] = config("title", "caption")

        code, out, _ = call("connect", "--project", "1", "--control", "title", "--json")

        shown = json.loads(out)
        assert (code, shown["control"], shown["other_controls"]) == (0, "title", ["caption"])
        assert "title" in call("project", "show")[1]

    def test_keeps_the_text_box_of_an_earlier_call(self, call: Call, studio: ScriptedStudio) -> None:
        studio.project["label_config"] = config("title", "caption")
        call("connect", "--project", "1", "--control", "title")
        assert json.loads(call("connect", "--project", "1", "--json")[1])["control"] == "title"

    def test_refuses_one_that_is_not_there_and_attaches_nothing(self, call: Call, studio: ScriptedStudio) -> None:
        studio.project["label_config"] = config("title", "caption")

        code, _, err = call("connect", "--project", "1", "--control", "subject")

        assert code == 2
        assert "control is 'subject'; the label config's text boxes for captions are title, caption" in err
        assert studio.backends == []

    def test_wants_label_studios_own_address(
        self, call: Call, studio: ScriptedStudio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LABEL_STUDIO_URL", f"{studio.url}/projects/1/data")
        studio.decide = version_below_any_path

        code, _, err = call("connect", "--project", "1")

        assert code == 3
        assert f"Set LABEL_STUDIO_URL to its own address: {studio.url}." in err


def version_below_any_path(method: str, path: str) -> Reply | None:
    """As a real one does; other paths of its API it has only at its own address."""
    return Reply(200, b'{"release": "1.23.2"}') if path.endswith("/api/version/") else None


class TestSync:
    def test_says_that_the_text_box_is_gone_and_how_to_go_on(
        self, call: Call, studio: ScriptedStudio, project: Project, database: Database
    ) -> None:
        studio.annotate(studio.add_task(), "a cat")
        call("sync")
        studio.project["label_config"] = config("title", "text")
        studio.annotate(studio.add_task(), "a dog", from_name="text")

        code, out, _ = call("sync")

        assert code == 0
        assert "1 corrections" in out
        assert "'caption', which captions went into, is gone from the label config" in out
        assert "captionloop project set control=NAME` (title or text)" in out

        code, out, _ = call("project", "set", "control=text")
        assert (code, "control              text" in out) == (0, True)
        code, out, _ = call("sync", "--json")
        assert (json.loads(out)["corrections"], json.loads(out)["notice"]) == (2, "")

    def test_reads_everything_again_when_told_to(
        self, call: Call, studio: ScriptedStudio, project: Project, database: Database
    ) -> None:
        annotation = studio.annotate(studio.add_task(), "a cat", at="2020-01-01T00:00:00Z")
        studio.annotate(studio.add_task(), "a dog")
        call("sync")
        for task in studio.tasks.values():
            for found in task["annotations"]:
                if found["id"] == annotation:  # by somebody's script in Label Studio's database, which moves no clock
                    found["result"][0]["value"]["text"] = ["a tomcat"]

        assert json.loads(call("sync", "--json")[1])["changed"] == 0
        assert json.loads(call("sync", "--all", "--json")[1])["changed"] == 1

        with database.reading() as session:
            assert "a tomcat" in {example.caption for example in training_examples(session, project.id)}


def test_a_wrong_control_changes_no_setting(call: Call, studio: ScriptedStudio, project: Project) -> None:
    code, _, err = call("project", "set", "control=subject", "train_after=7")
    assert (code, "control is 'subject'" in err) == (2, True)
    assert json.loads(call("project", "show", "--json")[1])["train_after"] is None


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        pytest.param([picture("red"), "/nowhere/a.png"], 6, id="some failed"),
        pytest.param([picture("red")], 0, id="none failed"),
    ],
)
def test_whoever_waits_for_a_captioning_run_is_told_by_the_exit_code_that_tasks_failed(
    call: Call, studio: ScriptedStudio, project: Project, images: list[str], expected: int
) -> None:
    for image in images:
        studio.add_task({"image": image})
    worker = threading.Thread(target=carry_out_the_run_that_comes, args=(project.id,))
    worker.start()

    code, out, _ = call("annotate", "--wait")
    worker.join()

    assert code == expected
    assert ("1 could not be captioned" in out) is (expected == 6)


def carry_out_the_run_that_comes(project_id: int) -> None:
    """What a worker does."""
    deadline = time.monotonic() + 60
    with opened() as context:
        queue: Queue = context.queue
        while not (runs := queue.runs.unfinished(project_id)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with closing(queue.redis):
        entry.annotate(runs[0].id)
