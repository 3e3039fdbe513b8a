"""A sync with a Label Studio that answers badly: it ends with a sentence, and the next one makes everything right."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.support.contexts import opened_context
from tests.support.models import add_project
from tests.support.processes import running_worker, until
from tests.support.scripted_studio import CUT_OFF, HANG_UP, PAGE, TOKEN, Reply, ScriptedStudio, moment, scripted_studio

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.backend.label_studio.transport import Transport
from captionloop.backend.local.ports import free_port
from captionloop.errors import CaptionloopError, LabelConfigError, LabelStudioError
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.project.sync import SyncResult, sync
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.jobs.queue.runs import Runs
from captionloop.jobs.queue.sweeps import Sweeps
from captionloop.model.database import Correction, CorrectionState, Database, Project

ANSWERS = {
    "401": Reply(401, b'{"detail": "Invalid token."}'),
    "403": Reply(403, b'{"detail": "You do not have permission."}'),
    "404": Reply(404, b'{"detail": "Not found."}'),
    "404 of another server": Reply(404, PAGE, "text/html"),
    "429": Reply(429),
    "429 with a time to wait that is none": Reply(429, b"slow down", "text/plain"),
    "500": Reply(500, PAGE, "text/html"),
    "502": Reply(502, PAGE, "text/html"),
    "503": Reply(503),
    "a redirect": Reply(302, b""),
    "a web page": Reply(200, PAGE, "text/html"),
    "a web page that says it is JSON": Reply(200, PAGE),
    "nothing": Reply(200, b""),
    "null": Reply(200, b"null"),
    "a number": Reply(200, b"7"),
    "a list": Reply(200, b"[]"),
    "a list of numbers": Reply(200, b"[7]"),
    "an empty object": Reply(200, b"{}"),
    "JSON of another API": Reply(200, b'{"status": "ok", "tasks": null, "total": "many", "id": "one", "title": {}}'),
    "tasks that are none": Reply(200, b'{"tasks": [{"id": 1}, null], "total": 2, "id": 1}'),
    "JSON without end": Reply(200, b"[" * 100_000),
    "half of an answer": CUT_OFF,
    "half of an answer, complete by its length": Reply(200, b'{"tasks": [{"id": 1, "da'),
    "bytes that are no text": Reply(200, b'{"title": "\xff\xfe"}'),
    "compressed in a way that it is not": Reply(200, b"\x1f\x8b\x08\x00garbage", "application/json"),
    "no answer": HANG_UP,
    "an answer that is late": Reply(after_s=0.6),
}
# One of each kind; the others take a minute together.
QUICK = {"401", "500", "a web page", "an empty object", "half of an answer"}


@pytest.fixture
def studio() -> Iterator[ScriptedStudio]:
    with scripted_studio() as running:
        yield running


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


@pytest.fixture
def synced(
    studio: ScriptedStudio, database: Database, home: Home, project: Project, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., SyncResult]]:
    monkeypatch.setitem(Transport.send.__kwdefaults__ or {}, "timeout_s", 0.3)
    with ExitStack() as opened:

        @cache
        def context_of(token: str, retry_delays_s: tuple[float, ...]) -> Context:
            made = opened_context(database, home, url=studio.url, token=token, retry_delays_s=retry_delays_s)
            return opened.enter_context(made)

        def run(*, token: str = TOKEN, retry_delays_s: tuple[float, ...] = ()) -> SyncResult:
            return sync(context_of(token, retry_delays_s), project.id)

        yield run


def captions(database: Database) -> dict[int, tuple[str, list[str]]]:
    with database.reading() as session:
        return {row.annotation_id or 0: (row.state.value, row.captions) for row in session.scalars(select(Correction))}


def truth(studio: ScriptedStudio) -> dict[int, tuple[str, list[str]]]:
    return {
        annotation["id"]: ("active", annotation["result"][0]["value"]["text"])
        for task in studio.tasks.values()
        for annotation in task["annotations"]
    }


def answering_once(reply: Reply, place: int) -> Callable[[str, str], Reply | None]:
    """This instead of the answer to the request at a place."""
    count = iter(range(10**6))
    return lambda method, path: reply if next(count) == place else None


@pytest.mark.parametrize(
    "answer", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in ANSWERS]
)
def test_a_bad_answer_at_any_request_loses_nothing_and_marks_nothing(
    studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database, answer: str
) -> None:
    studio.annotate(studio.add_task(), "a cat")
    synced()
    requests = len(studio.asked)
    assert requests >= 5
    for place in range(requests):
        studio.annotate(studio.add_task(), f"a dog, number {place}")
        before = captions(database)
        studio.decide = answering_once(ANSWERS[answer], place)
        try:
            synced()
        except CaptionloopError as error:
            said = str(error)
            assert said.endswith(".")
            assert studio.url in said
        assert before.items() <= captions(database).items()
        studio.decide = lambda method, path: None

        synced()

        assert captions(database) == truth(studio)


@pytest.mark.parametrize("answer", ["429", "500", "502", "503", "half of an answer", "no answer"])
def test_a_failure_that_passes_costs_only_time(
    studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database, answer: str
) -> None:
    for number in range(5):
        studio.annotate(studio.add_task(), f"caption {number}")
    count = iter(range(10**6))
    studio.decide = lambda method, path: ANSWERS[answer] if next(count) % 3 else None

    synced(retry_delays_s=(0.01,) * 4)

    assert captions(database) == truth(studio)


def test_a_label_studio_that_is_being_started_is_waited_for(database: Database, home: Home, project: Project) -> None:
    port = free_port()
    with closing(LabelStudio(f"http://localhost:{port}", TOKEN, retry_delays_s=(0.2,) * 50)) as label_studio:
        found: list[Any] = []
        asker = threading.Thread(target=lambda: found.append(label_studio.project(1)["title"]))
        asker.start()
        time.sleep(0.5)
        with scripted_studio(port=port):
            asker.join(timeout=30)

    assert found == ["By script"]


@pytest.mark.slow
@pytest.mark.faults
def test_a_sync_that_somebody_asked_for_while_label_studio_was_away_is_made_when_it_is_back(
    studio: ScriptedStudio, database: Database, home: Home, project: Project, redis_url: str, tmp_path: Path
) -> None:
    studio.annotate(studio.add_task(), "a cat")
    studio.decide = lambda method, path: HANG_UP
    log = tmp_path / "worker.log"
    with closing(Queue(redis_url, Runs(database), Sweeps(database, home.runs))) as queue:
        queue.request_sync(project.id)
    with running_worker(home, redis_url, log, LABEL_STUDIO_URL=studio.url, LABEL_STUDIO_API_KEY=TOKEN):
        until(lambda: "could not be synced" in log.read_text())
        studio.decide = lambda method, path: None
        until(lambda: captions(database) == truth(studio))


def test_a_token_that_was_replaced_says_so_and_the_new_one_goes_on(
    studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database
) -> None:
    studio.annotate(studio.add_task(), "a cat")
    synced()
    studio.token = "another"
    studio.annotate(studio.add_task(), "a dog")

    with pytest.raises(LabelStudioError, match=r"does not accept the access token.*LABEL_STUDIO_API_KEY"):
        synced()
    synced(token="another")

    assert captions(database) == truth(studio)


class TestWhatChangesBetweenTwoCalls:
    """Each is done while the sync is under way, before its request number so many."""

    @pytest.fixture(params=range(7))
    def at(self, request: pytest.FixtureRequest, studio: ScriptedStudio) -> Callable[[Callable[[], None]], None]:
        def set_up(change: Callable[[], None]) -> None:
            count = iter(range(10**6))

            def decide(method: str, path: str) -> None:
                if next(count) == request.param:
                    change()

            studio.decide = decide

        return set_up

    def test_a_deleted_task_is_marked_in_the_end(
        self, studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database, at: Any
    ) -> None:
        gone = studio.add_task()
        studio.annotate(gone, "a cat")
        synced()
        studio.annotate(studio.add_task(), "a dog")
        at(lambda: studio.delete_task(gone))

        synced()
        synced()

        states = {text[0]: state for state, text in captions(database).values()}
        assert states == {"a cat": "task_deleted", "a dog": "active"}

    def test_a_deleted_project_keeps_its_corrections(
        self, studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database, at: Any
    ) -> None:
        studio.annotate(studio.add_task(), "a cat")
        synced()
        studio.annotate(studio.add_task(), "a dog")
        at(lambda: setattr(studio, "answer", lambda *_: (404, {"detail": "Not found."})))

        with pytest.raises(LabelStudioError, match=r"has no .+, or this account cannot see it"):
            [synced() for _ in range(2)]

        assert {state for state, _ in captions(database).values()} == {"active"}

    def test_an_annotation_that_is_changed_meanwhile_is_there_in_the_end(
        self, studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database, at: Any
    ) -> None:
        task = studio.add_task()
        studio.annotate(task, "a cat")
        at(lambda: rewrite(studio, task, "a small cat"))

        synced()
        synced()

        assert captions(database) == truth(studio)

    def test_another_label_config_counts_from_the_next_sync_on(
        self, studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database, at: Any
    ) -> None:
        task = studio.add_task()

        def reconfigure() -> None:
            studio.project["label_config"] = SAMPLE_LABEL_CONFIG.replace('"caption"', '"words"')
            studio.annotate(task, "a cat", from_name="words")

        at(reconfigure)

        for _ in range(3):  # the change may come during the second
            synced()

        assert captions(database) == truth(studio)


def rewrite(studio: ScriptedStudio, task: int, text: str, *, at: str | None = None) -> None:
    """What somebody does who changes the task's first annotation."""
    with studio.lock:
        found = studio.tasks[task]
        annotation = found["annotations"][0]
        annotation["result"][0]["value"]["text"] = [text]
        annotation["updated_at"] = found["updated_at"] = at or moment()


def test_a_label_config_without_place_for_captions_ends_the_sync_and_loses_nothing(
    studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database
) -> None:
    studio.annotate(studio.add_task(), "a cat")
    synced()
    for config in ('<View><Image name="image" value="$image"/></View>', "", None):
        studio.project["label_config"] = config
        with pytest.raises(LabelConfigError):
            synced()

    assert [state for state, _ in captions(database).values()] == ["active"]


def test_a_project_without_a_title_is_synced(
    studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database
) -> None:
    studio.project["title"] = None
    studio.annotate(studio.add_task(), "a cat")

    assert synced().new == 1


class TestClocks:
    @pytest.mark.parametrize("was_ahead", [timedelta(hours=1), timedelta(days=400)])
    def test_a_change_after_label_studios_clock_was_put_back_is_not_lost(
        self, studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database, was_ahead: timedelta
    ) -> None:
        task = studio.add_task()
        studio.annotate(task, "a cat", at=moment(datetime.now(UTC) + was_ahead))
        synced()
        rewrite(studio, task, "a small cat")

        synced()

        assert captions(database) == truth(studio)

    def test_when_both_clocks_were_put_back_all_is_read_again(
        self, studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database, project: Project
    ) -> None:
        task = studio.add_task()
        studio.annotate(task, "a cat")
        synced()
        with database.session() as session:  # as a sync leaves it that ended when the clock was two hours ahead
            session.get_one(Project, project.id).synced_until = datetime.now(UTC) + timedelta(hours=2)
            session.scalars(select(Correction)).one().updated_at = datetime.now(UTC) + timedelta(hours=2)
        rewrite(studio, task, "a small cat")

        synced()

        assert captions(database) == truth(studio)

    def test_a_label_studio_whose_clock_is_hours_behind_is_synced_like_another(
        self, studio: ScriptedStudio, synced: Callable[..., SyncResult], database: Database
    ) -> None:
        tasks = [studio.add_task() for _ in range(2)]
        behind = datetime.now(UTC) - timedelta(hours=3)
        studio.annotate(tasks[0], "a cat", at=moment(behind))
        synced()
        studio.annotate(tasks[1], "a dog", at=moment(behind + timedelta(minutes=5)))
        rewrite(studio, tasks[0], "a small cat", at=moment(behind + timedelta(minutes=6)))

        synced()

        assert captions(database) == truth(studio)
        assert {state for state, _ in captions(database).values()} == {CorrectionState.ACTIVE.value}


def test_the_bodies_of_these_tests_are_what_they_say() -> None:
    with pytest.raises(RecursionError):
        json.loads(ANSWERS["JSON without end"].body)
