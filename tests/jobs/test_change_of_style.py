"""People change their manner in the middle of a project, on a real Label Studio: the loop says so, and follows it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from tests.backend.pages.test_overview import text_of
from tests.support.loop import Loop, opened_loop
from tests.support.pictures import picture_of_scene
from tests.support.room import app_of, post, signed_in
from tests.support.runs import begun
from tests.support.servers import LabelStudioServer
from tests.support.studio import annotate, newest

from captionloop.backend.cli import cli
from captionloop.backend.page_data.room import Room
from captionloop.backend.server.serve import build_service
from captionloop.home import Home
from captionloop.jobs.captioning.annotate_run import run_annotate
from captionloop.jobs.context import Context
from captionloop.jobs.learning.finetune_run import run_finetune
from captionloop.jobs.project.sync import sync
from captionloop.jobs.queue.attempt import Attempt
from captionloop.model.database import RunKind, RunState
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import Scene
from captionloop.model.starter.styles import STYLES

pytestmark = pytest.mark.slow

OLD, NEW = STYLES["alt_text"], STYLES["met_words"]
BEFORE, AFTER, UNSEEN = 60, 40, 60
SAID = "People write otherwise than before"


def scene_of(place: int) -> tuple[Scene, int]:
    return example("a change of style", place)


class People:
    """The annotators of a project: each task is a scene, by its place."""

    def __init__(self, loop: Loop, api: httpx.Client) -> None:
        self.loop, self.api, self.number = loop, api, loop.project.label_studio_id
        pictures = [picture_of_scene(scene, seed=seed) for scene, seed in map(scene_of, range(BEFORE + AFTER + UNSEEN))]
        self.tasks = loop.context.label_studio.import_tasks(
            self.number, [{"data": {"image": picture}} for picture in pictures]
        )

    def write(self, place: int, manner: Callable[[Scene], str]) -> None:
        task = self.loop.context.label_studio.task(self.number, self.tasks[place])
        annotate(self.api, self.number, task, manner(scene_of(place)[0]))

    def share_right(self, manner: Callable[[Scene], str]) -> float:
        """Of the suggestions for the tasks that nobody has annotated."""
        places = range(BEFORE + AFTER, BEFORE + AFTER + UNSEEN)
        studio = self.loop.context.label_studio
        shown = [
            newest(studio.task(self.number, self.tasks[place]))["result"][0]["value"]["text"][0] for place in places
        ]
        right = [text == manner(scene_of(place)[0]) for text, place in zip(shown, places, strict=True)]
        return sum(right) / len(right)


@pytest.fixture
def loop(label_studio_server: LabelStudioServer, home: Home, redis_url: str, tmp_path: Path) -> Iterator[Loop]:
    with opened_loop(label_studio_server, home, redis_url, tmp_path, CAPTIONLOOP_GATE="better") as opened:
        yield opened


@pytest.fixture
def people(loop: Loop, label_studio_server: LabelStudioServer) -> Iterator[People]:
    headers = {"Authorization": f"Token {label_studio_server.token}"}
    with httpx.Client(base_url=label_studio_server.url, headers=headers, timeout=120) as api:
        yield People(loop, api)


@pytest.fixture
def lead(loop: Loop) -> Iterator[FlaskClient]:
    service = build_service(loop.context)
    room = Room(loop.context, service)
    yield signed_in(app_of(room))
    room.close()
    service.close()


def carry_out(loop: Loop, kind: RunKind, job: Callable[[Context, Attempt], str]) -> str:
    attempt = begun(loop.context.queue.runs, loop.project.id, kind)
    said = job(loop.context, attempt)
    attempt.finish(RunState.FINISHED, message=said)
    return said


def learn(loop: Loop) -> str:
    """A run, and the captions of the version that it makes for what nobody has annotated."""
    said = carry_out(loop, RunKind.FINETUNE, run_finetune)
    carry_out(loop, RunKind.ANNOTATE, run_annotate)
    return said


def test_a_change_of_manner_is_said_before_the_20th_followed_by_a_press_and_learnt_by_a_run(
    loop: Loop, people: People, lead: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    overview = f"/projects/{people.number}/"
    carry_out(loop, RunKind.ANNOTATE, run_annotate)
    for place in range(BEFORE):
        people.write(place, OLD)
    assert "is the champion now" in learn(loop)
    assert people.share_right(OLD) >= 0.9
    assert SAID not in text_of(lead, overview)

    written = 0
    while SAID not in text_of(lead, overview):
        people.write(BEFORE + written, NEW)
        written += 1
        sync(loop.context, loop.project.id)
        assert written < 20, "nothing was said"
    for place in range(BEFORE + written, BEFORE + AFTER):
        people.write(place, NEW)
    sync(loop.context, loop.project.id)

    page = lead.get(overview).get_data(as_text=True)
    assert "captions begin with &#39;one&#39; instead of &#39;illustration:&#39;" in page
    first = page.partition('name="from_correction" value="')[2].partition('"')[0]
    for name, value in loop.variables.items():
        monkeypatch.setenv(name, value)
    told = json.loads(CliRunner().invoke(cli, ["style", "changes", "--json", "--project", str(people.number)]).stdout)
    by_api = lead.get(f"/api/v1/projects/{people.number}/styles/changes").get_json()
    assert min(min(change["numbers"]) for change in told) == int(first)
    assert min(min(change["corrections"]) for change in by_api) == int(first)

    answer = post(
        lead, f"/projects/{people.number}/styles/begin", page=overview, name="new", from_correction=first, back=overview
    )
    assert f"new has begun, with {AFTER} corrections" in answer.get_data(as_text=True)
    assert "was not taught the style new" in text_of(lead, overview)

    assert "is the champion now" in learn(loop)
    assert people.share_right(NEW) >= 0.5  # the aim is 0.9: docs/styles.md
    assert "Suggestions are in the style new" in text_of(lead, overview)

    done = CliRunner().invoke(cli, ["style", "end", "new", "--project", str(people.number)])
    assert done.stdout == "new has ended. The current style is (without a name).\n"
    (renewal,) = loop.context.queue.runs.latest(loop.project.id, RunKind.ANNOTATE, count=1)
    assert renewal.asked_by == "another style"
    carry_out(loop, RunKind.ANNOTATE, run_annotate)
    assert people.share_right(OLD) >= 0.9
