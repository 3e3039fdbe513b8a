"""Many at once on one database, of both kinds: backends, workers and people who press the same button."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image
from redis import Redis
from sqlalchemy import select
from tests.support.contexts import opened_context
from tests.support.models import add_project, tiny_base
from tests.support.pictures import picture
from tests.support.runs import begun
from tests.support.scripted_studio import TOKEN, scripted_studio
from tests.support.service import AUTH, caption_service, client_of
from tests.support.versions import add_copy

from captionloop.backend.projects.project_rows import Projects
from captionloop.backend.serving.champions import Champions
from captionloop.home import Home
from captionloop.jobs.project.sync import sync
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.jobs.queue.runs import DEAD_AFTER_S, Runs
from captionloop.jobs.queue.sweeps import Sweeps
from captionloop.jobs.queue.work import Work, queues_of
from captionloop.model.captioning.captioner import Captioner, ScoredCaption
from captionloop.model.database import (
    Correction,
    Database,
    Project,
    Promotion,
    Run,
    RunKind,
    RunState,
    Suggestion,
    Version,
    utc_now,
)
from captionloop.model.dataset.corrections import StoredImage, register_image
from captionloop.model.dataset.suggestion_log import Answer, SuggestionLog
from captionloop.model.versions.base import Base
from captionloop.model.versions.store import VersionInfo, VersionStore

T = TypeVar("T")

AT_ONCE = 20
PICTURE = Image.new("RGB", (32, 32), "red")


@pytest.fixture
def project(either_database: Database) -> Project:
    return add_project(either_database)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def open_database(either_url: str, either_database: Database) -> Iterator[Callable[[], Database]]:
    """Opens the same database once more, as another process does: with connections of its own."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(Database(either_url)))


def at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """What each of these gives, all begun at the same moment."""
    begin = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        begin.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as threads:
        return [future.result() for future in [threads.submit(run, work) for work in works]]


def queue_on(database: Database, redis_url: str) -> Queue:
    return Queue(redis_url, Runs(database), Sweeps(database, Path()))


def jobs_in(redis_url: str) -> int:
    with Redis.from_url(redis_url) as client:
        return sum(int(client.llen(f"rq:queue:{name}")) for name in queues_of(list(Work)))


# The button -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_running", [False, True])
def test_twenty_who_press_start_training_get_one_run_and_are_told_so(
    either_database: Database, redis_url: str, tmp_path: Path, base: Base, project: Project, is_running: bool
) -> None:
    with caption_service(either_database, redis_url, tmp_path, base) as service:
        if is_running:
            runs = service.queue.runs
            runs.start(runs.request(project.id, RunKind.FINETUNE, asked_by="before").run.id)

        app = client_of(service).application

        def press() -> dict[str, Any]:
            body = {"action": "START_TRAINING", "project": {"id": 1}}
            answer = app.test_client().post("/webhook", json=body, auth=AUTH)
            assert answer.status_code == 201
            return dict(answer.get_json())

        answers = at_once([press] * AT_ONCE)
        states = Counter(run.state for run in service.queue.runs.active())

    assert len({answer["job"] for answer in answers}) == 1
    told = Counter("no further one was added" in answer["message"] for answer in answers)
    assert told == {False: 1, True: AT_ONCE - 1}
    assert states == ({RunState.RUNNING: 1, RunState.WAITING: 1} if is_running else {RunState.QUEUED: 1})
    assert jobs_in(redis_url) == (0 if is_running else 1)


def test_twenty_presses_on_several_backends_make_one_run(
    open_database: Callable[[], Database], redis_url: str, project: Project
) -> None:
    queues = [queue_on(open_database(), redis_url) for _ in range(4)]

    requests = at_once(
        [lambda queue=queues[n % 4]: queue.request(project.id, RunKind.FINETUNE, asked_by="x") for n in range(AT_ONCE)]  # type: ignore[misc]
    )

    assert len({requested.run.id for requested in requests}) == 1
    assert sum(requested.is_new for requested in requests) == 1
    assert jobs_in(redis_url) == 1


# Workers --------------------------------------------------------------------------------------------------------------


def test_of_several_workers_one_gets_the_run(open_database: Callable[[], Database], project: Project) -> None:
    workers = [Runs(open_database()) for _ in range(6)]
    run = workers[0].request(project.id, RunKind.FINETUNE, asked_by="x").run

    taken = at_once([lambda runs=runs: runs.start(run.id) for runs in workers])  # type: ignore[misc]

    assert sum(found is not None for found in taken) == 1


def test_two_projects_run_side_by_side(open_database: Callable[[], Database], project: Project) -> None:
    database = open_database()
    other = add_project(database, 2)
    runs = [Runs(open_database()) for _ in range(2)]
    asked = [runs[0].request(one.id, RunKind.FINETUNE, asked_by="x").run for one in (project, other)]

    taken = at_once([lambda pair=pair: pair[0].start(pair[1].id) for pair in zip(runs, asked, strict=True)])  # type: ignore[misc]

    assert all(taken)


def test_a_dead_run_that_all_notice_is_queued_once(
    open_database: Callable[[], Database], redis_url: str, project: Project
) -> None:
    queues = [queue_on(open_database(), redis_url) for _ in range(6)]
    runs = queues[0].runs
    run = begun(runs, project.id, RunKind.FINETUNE).run
    database = open_database()
    with database.session() as session:
        session.get_one(Run, run.id).heartbeat_at = utc_now() - timedelta(seconds=DEAD_AFTER_S + 1)

    at_once([queue.keep_moving for queue in queues])

    found = runs.get(run.id)
    assert found is not None
    assert (found.state, found.attempts) == (RunState.QUEUED, 1)
    assert len(runs.active()) == 1
    again = at_once([lambda queue=queue: queue.runs.start(run.id) for queue in queues])  # type: ignore[misc]
    assert sum(started is not None for started in again) == 1


def test_a_clock_that_is_put_back_hides_no_dead_run(either_database: Database, project: Project) -> None:
    runs = Runs(either_database)
    run = begun(runs, project.id, RunKind.FINETUNE).run
    with either_database.session() as session:
        session.get_one(Run, run.id).heartbeat_at = utc_now() + timedelta(hours=2)

    runs.advance()

    found = runs.get(run.id)
    assert found is not None
    assert found.state is RunState.RUNNING  # it may live: its next sign of life comes within seconds
    assert found.heartbeat_at is not None
    assert found.heartbeat_at <= utc_now()


# Backends -------------------------------------------------------------------------------------------------------------


def test_a_project_that_several_backends_meet_at_once_has_one_row(open_database: Callable[[], Database]) -> None:
    backends = [Projects(open_database(), server="local") for _ in range(8)]

    seen = at_once([lambda projects=projects: projects.seen(77, label_config="<View/>") for projects in backends])  # type: ignore[misc]

    assert len({(found.id, found.webhook_secret) for found in seen}) == 1


def test_several_backends_give_a_new_project_the_same_base_once(
    open_database: Callable[[], Database], project: Project, tmp_path: Path, base: Base
) -> None:
    stores = [VersionStore(open_database(), tmp_path / "versions") for _ in range(5)]

    names = at_once([lambda store=store: store.ensure_champion(project.id, base) for store in stores])  # type: ignore[misc]

    assert set(names) == {base.name}
    with open_database().reading() as session:
        assert [row.name for row in session.scalars(select(Version))] == [base.name]


def test_backends_that_remember_the_same_tasks_in_any_order_wait_for_each_other(
    open_database: Callable[[], Database], project: Project
) -> None:
    logs = [SuggestionLog(open_database()) for _ in range(4)]
    tasks = list(range(300))

    def keep(log: SuggestionLog, seed: int) -> None:
        for turn in range(5):
            shuffled = random.Random(seed + turn).sample(tasks, len(tasks))
            log.keep(project.id, "v1", [Answer(task, ScoredCaption(f"by {seed}", 0.5)) for task in shuffled])

    at_once([lambda pair=pair: keep(pair[1], pair[0]) for pair in enumerate(logs)])  # type: ignore[misc]

    with open_database().reading() as session:
        assert session.query(Suggestion).count() == len(tasks)


def test_two_syncs_at_once_hold_each_correction_once(
    open_database: Callable[[], Database], home: Home, project: Project
) -> None:
    databases = [open_database() for _ in range(3)]
    with scripted_studio() as studio, ExitStack() as opened:
        for number in range(60):
            task = studio.add_task({"image": picture(f"#{number:02x}4080")})
            studio.annotate(task, f"caption {number}")

        def run(database: Database) -> int:
            context = opened.enter_context(opened_context(database, home, url=studio.url, token=TOKEN))
            return sync(context, project.id).new

        new = at_once([lambda database=database: run(database) for database in databases])  # type: ignore[misc]

    assert sum(new) == 60
    with databases[0].reading() as session:
        assert sorted(row.captions[0] for row in session.scalars(select(Correction))) == sorted(
            f"caption {number}" for number in range(60)
        )


def test_images_that_are_registered_in_any_order_are_registered_once(open_database: Callable[[], Database]) -> None:
    databases = [open_database() for _ in range(4)]
    images = [StoredImage(f"{number:064x}", 1, 1, 1, b"") for number in range(100)]

    def register(database: Database, seed: int) -> None:
        for image in random.Random(seed).sample(images, len(images)):
            with database.session() as session:
                register_image(session, image)

    at_once([lambda pair=pair: register(pair[1], pair[0]) for pair in enumerate(databases)])  # type: ignore[misc]


# The champion ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(either_database: Database, tmp_path: Path, base: Base, project: Project) -> VersionStore:
    made = VersionStore(either_database, tmp_path / "versions")
    made.ensure_champion(project.id, base)
    return made


def test_versions_made_at_once_have_names_of_their_own(
    store: VersionStore, open_database: Callable[[], Database], project: Project, tmp_path: Path
) -> None:
    first = store.champion(project.id)
    stores = [VersionStore(open_database(), tmp_path / "versions") for _ in range(4)]

    names = at_once([lambda one=one: add_copy(one, project, first) for one in stores])  # type: ignore[misc]

    assert len(set(names)) == 4
    assert all(store.get(project.id, name).path.is_dir() for name in names)


def test_of_candidates_against_the_same_champion_one_is_promoted(
    store: VersionStore, open_database: Callable[[], Database], project: Project, tmp_path: Path
) -> None:
    first = store.champion(project.id)
    names = [add_copy(store, project, first) for _ in range(4)]
    stores = [VersionStore(open_database(), tmp_path / "versions") for _ in names]

    won = at_once(
        [
            lambda pair=pair: pair[0].promote(project.id, pair[1], reason="better", expected=first.version)  # type: ignore[misc]
            for pair in zip(stores, names, strict=True)
        ]
    )

    assert sum(won) == 1
    assert store.champion(project.id).version == names[won.index(True)]


def test_promotions_at_once_leave_one_champion_and_an_unbroken_history(
    store: VersionStore, open_database: Callable[[], Database], project: Project, tmp_path: Path
) -> None:
    first = store.champion(project.id)
    names = [add_copy(store, project, first) for _ in range(4)]
    stores = [VersionStore(open_database(), tmp_path / "versions") for _ in names]

    at_once(
        [
            lambda pair=pair: pair[0].promote(project.id, pair[1], reason="chosen")  # type: ignore[misc]
            for pair in zip(stores, names, strict=True)
        ]
    )

    with open_database().reading() as session:
        rows = list(session.scalars(select(Promotion).order_by(Promotion.id)))
    assert [row.previous for row in rows[1:]] == [row.version for row in rows[:-1]]
    assert store.champion(project.id).version == rows[-1].version
    assert Counter(row.version for row in rows) == Counter([first.version, *names])


@pytest.mark.parametrize("while_loading", [1, 3])
def test_a_promotion_while_a_swap_runs_is_what_serves_in_the_end(
    store: VersionStore, open_database: Callable[[], Database], project: Project, tmp_path: Path, base: Base,
    while_loading: int,
) -> None:  # fmt: skip
    first = store.champion(project.id)
    names = [add_copy(store, project, first) for _ in range(1 + while_loading)]
    loading, go_on = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def load(version: VersionInfo) -> Captioner:
        if version.version == names[0]:
            loading.set()
            go_on.wait(30)
        return Captioner.load(version.path, version=version.version, generation=version.generation, precision="fp32")

    champions = Champions(store, base=base, load=load)
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                with champions.lease(project.id) as batcher:
                    batcher.submit(PICTURE, "").result()
            except Exception as error:  # noqa: BLE001 (whatever it is, the test reports it)
                errors.append(error)

    with champions.lease(project.id):
        pass
    elsewhere = VersionStore(open_database(), tmp_path / "versions")
    elsewhere.promote(project.id, names[0], reason="first")
    askers = [threading.Thread(target=ask) for _ in range(2)]
    swaps = [threading.Thread(target=champions.refresh, args=(project.id,))]
    for thread in (*askers, *swaps):
        thread.start()
    assert loading.wait(30)
    for name in names[1:]:
        elsewhere.promote(project.id, name, reason="meanwhile")
        swaps.append(threading.Thread(target=champions.refresh, args=(project.id,)))
        swaps[-1].start()
    go_on.set()
    for thread in swaps:
        thread.join(60)
    over.set()
    for thread in askers:
        thread.join(60)

    assert errors == []
    assert champions.version(project.id) == names[-1]
    champions.close()


def test_two_projects_at_once_get_captions_into_their_own_controls_by_their_own_versions(
    either_database: Database, redis_url: str, tmp_path: Path, base: Base
) -> None:
    configs = {
        7: '<View><Image name="img" value="$photo"/><TextArea name="words" toName="img"/></View>',
        8: '<View><Image name="bild" value="$foto"/><TextArea name="text" toName="bild"/></View>',
    }
    fields, names = {7: "photo", 8: "foto"}, {7: "words", 8: "text"}
    with caption_service(either_database, redis_url, tmp_path, base) as service:
        app = client_of(service).application
        projects = {number: service.projects.seen(number, label_config=config) for number, config in configs.items()}
        for one in projects.values():
            service.versions.ensure_champion(one.id, base)
        own = add_copy(service.versions, projects[8], service.versions.champion(projects[8].id))
        service.versions.promote(projects[8].id, own, reason="its own")
        versions = {7: base.name, 8: own}

        def ask(number: int) -> tuple[int, Any]:
            tasks = [{"id": task, "data": {fields[number]: picture("red")}} for task in range(6)]
            body = {"tasks": tasks, "project": f"{number}.1", "label_config": configs[number]}
            return number, app.test_client().post("/predict", json=body, auth=AUTH).get_json()["results"]

        answers = at_once([lambda number=number: ask(number) for number in (7, 8) * 4])  # type: ignore[misc]

    for number, results in answers:
        assert [result["model_version"] for result in results] == [versions[number]] * 6
        assert {result["result"][0]["from_name"] for result in results} == {names[number]}
