"""Soak test with kills: `python -m benchmarks.soak --minutes 20 --annotators 20`.

Label Studio, Redis, a worker and two backends run in a separate home on one database. Annotators open tasks, correct
suggestions, change and delete some, and request captions; a lead presses Start Training whenever no run is active. Once
in each minute, at a random moment (seeded), each process is killed by SIGKILL and started again, except the second
backend, whose memory and file handles are recorded. In turn each of them is paused for 75 s with all its children
(SIGSTOP), which is longer than a run may be silent.

At the end annotations and corrections are compared one by one, each suggestion that was shown with its version's
caption of the same picture, versions with the runs that made them and with their checksums, and what the backends serve
with the champion. Exits with 1 on any difference.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from tests.support.agreement import broken_versions, disagreements
from tests.support.pauses import stopped
from tests.support.servers import descendants

from captionloop.backend.label_studio.annotations import caption_item
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG, read_label_config
from captionloop.backend.local import label_studio_install, label_studio_server, redis_server
from captionloop.backend.local.ports import free_port
from captionloop.backend.local.processes import Program, signals_interrupt
from captionloop.backend.projects.connect import connect
from captionloop.errors import ServiceError
from captionloop.jobs.context import Context
from captionloop.jobs.project.sync import sync
from captionloop.model.database import Project, RunKind, RunState, utc_now
from captionloop.model.dataset.images import open_image
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import Scene, draw
from captionloop.model.starter.styles import STYLES
from captionloop.settings import Secret, Settings

_USER, _PASSWORD = "captionloop", "soak"
_TARGET = read_label_config(SAMPLE_LABEL_CONFIG)
_OURS = (sys.executable, "-c", "from captionloop.backend.cli import main; main()")
_TASKS_PER_ANNOTATOR = 20
_ENOUGH_TO_LEARN = 30
_READY_WITHIN_S = 300.0
_QUIET_WITHIN_S = 600.0  # after the last kill, for all runs to be over
_PAUSE_S = 75.0
_BETWEEN_PAUSES_S = 10.0
# Nothing may stand still for longer: a process that stands still may hold SQLite's lock, for which others wait 45 s.
_STILL_S = 180.0
_SERVES_WITHIN_S = 90.0
_CHECKED_AT_ONCE = 16

Say = Callable[[str], None]


class _Service:
    """A process that is killed and started again, and stands still now and then."""

    def __init__(self, program: Program, log: Path) -> None:
        self.name = program.name
        self.kills = 0
        self.pauses = 0
        self.orphans = 0
        self._unbroken = threading.Lock()  # one thing at a time is done to it
        self._program = program
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._program.command,
                env=dict(self._program.environment),
                cwd=self._program.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL to the process itself; what it started has to end within five seconds, or counts as orphaned."""
        assert self._process is not None
        below = [psutil.Process(pid) for pid in descendants(self._process.pid) if psutil.pid_exists(pid)]
        self._process.kill()
        self._process.wait()
        _, left = psutil.wait_procs(below, timeout=5)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.kills += 1
        self.orphans += len(left)

    def kill_and_start(self) -> None:
        """Unless it stands still just now."""
        if self._unbroken.acquire(blocking=False):
            try:
                self.kill()
                self.start()
            finally:
                self._unbroken.release()

    def stand_still(self, over: threading.Event) -> None:
        """For `_PAUSE_S`, with all that it started, or until all is over."""
        assert self._process is not None
        with self._unbroken, stopped(self._pids):
            over.wait(_PAUSE_S)
            self.pauses += 1

    def _pids(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid, *descendants(self._process.pid)]

    def size(self) -> tuple[int, int]:
        """Bytes of memory of its own (RSS), and open file handles; zeros when it does not run."""
        assert self._process is not None
        try:
            process = psutil.Process(self._process.pid)
            return process.memory_info().rss, process.num_fds()
        except psutil.Error:
            return 0, 0


@dataclass
class _Tally:
    """Suggestions shown, actions, and errors."""

    shown: set[tuple[int, str, str]] = field(default_factory=set)  # task, version, caption
    done: Counter[str] = field(default_factory=Counter)
    wrong_counts: int = 0
    longest_still_s: float = 0.0

    def show(self, task: int, prediction: Mapping[str, Any]) -> None:
        for item in prediction.get("result") or ():
            for text in item["value"]["text"]:
                self.shown.add((task, str(prediction["model_version"]), text))


class _Annotator(threading.Thread):
    """Works on its own tasks; continues after every error."""

    def __init__(
        self,
        number: int,
        tasks: Mapping[int, Scene],
        studio: Mapping[str, str],
        backends: Sequence[str],
        *,
        project: int,
        tally: _Tally,
        stop: threading.Event,
        seed: int,
    ) -> None:
        super().__init__(name=f"annotator-{number}", daemon=True)
        self._number, self._tasks, self._backends, self._project = number, tasks, backends, project
        self._studio, self._tally, self._stop_working = studio, tally, stop
        self._chance = random.Random(f"{seed} {number}")

    def run(self) -> None:
        headers = {"Authorization": f"Token {self._studio['token']}"}
        with (
            httpx.Client(base_url=self._studio["url"], headers=headers, timeout=60) as studio,
            httpx.Client(auth=(_USER, _PASSWORD), timeout=120, trust_env=False) as backend,
        ):
            while not self._stop_working.wait(self._chance.uniform(1, 6)):
                try:
                    self._work(studio, backend)
                except (httpx.HTTPError, ValueError):  # it is away, or it ended in the middle of its answer
                    self._tally.done["errors met"] += 1

    def _work(self, studio: httpx.Client, backend: httpx.Client) -> None:
        opened = [self._open(studio, task) for task in self._chance.sample(sorted(self._tasks), k=3)]
        if self._chance.random() < 0.3:
            self._ask(backend, opened)
        task = opened[0]
        caption = self._caption(task["id"])
        item = caption_item(_TARGET, caption) | {"origin": "manual"}
        if not task["annotations"]:
            shown = max(task["predictions"], key=lambda prediction: int(prediction["id"]), default=None)
            body = {"result": [item], "lead_time": 2.0, "parent_prediction": shown and shown["id"]}
            answer = studio.post(f"/api/tasks/{task['id']}/annotations/", params={"project": self._project}, json=body)
            kind = "annotations made"
        elif self._chance.random() < 0.85:
            answer = studio.patch(f"/api/annotations/{task['annotations'][0]['id']}/", json={"result": [item]})
            kind = "annotations changed"
        else:
            answer = studio.delete(f"/api/annotations/{task['annotations'][0]['id']}/")
            kind = "annotations deleted"
        answer.raise_for_status()
        self._tally.done[kind] += 1

    def _open(self, studio: httpx.Client, number: int) -> dict[str, Any]:
        task: dict[str, Any] = studio.get(f"/api/tasks/{number}/").raise_for_status().json()
        self._tally.done["tasks opened"] += 1
        for prediction in task["predictions"]:
            self._tally.show(number, prediction)
        return task

    def _ask(self, backend: httpx.Client, tasks: Sequence[Mapping[str, Any]]) -> None:
        body = {
            "tasks": [{"id": task["id"], "data": task["data"]} for task in tasks],
            "project": f"{self._project}.1",
            "label_config": SAMPLE_LABEL_CONFIG,
        }
        answer = backend.post(f"{self._chance.choice(self._backends)}/predict", json=body).raise_for_status().json()
        self._tally.done["questions to a backend"] += 1
        if len(answer["results"]) != len(tasks):
            self._tally.wrong_counts += 1
        for task, prediction in zip(tasks, answer["results"], strict=False):
            self._tally.show(int(task["id"]), prediction)

    def _caption(self, task: int) -> str:
        """In a style that can be learnt, and hardly ever the same for the same task."""
        return f"{STYLES['alt_text'](self._tasks[task])} no {self._chance.randrange(100)}"


@dataclass
class _Stage:
    """All that runs."""

    context: Context
    project: Project
    killed: list[_Service]
    steady: _Service
    studio: Mapping[str, str]
    backends: Sequence[str]
    tasks: Mapping[int, Scene]

    @property
    def services(self) -> list[_Service]:
        return [*self.killed, self.steady]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--annotators", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with (
        signals_interrupt(),
        tempfile.TemporaryDirectory(prefix="captionloop-soak-") as directory,
        _stage(Path(directory), annotators=options.annotators) as stage,
    ):
        problems = soak(stage, minutes=options.minutes, annotators=options.annotators, seed=options.seed, say=_say)
    for problem in problems:
        _say(f"NOT FULFILLED: {problem}")
    sys.exit(1 if problems else 0)


def soak(stage: _Stage, *, minutes: float, annotators: int, seed: int, say: Say) -> list[str]:
    """Run the test.

    Returns:
        The differences, as sentences; empty if there are none.
    """
    tally, over = _Tally(), threading.Event()
    people = [
        _Annotator(
            number,
            dict(list(stage.tasks.items())[number::annotators]),
            stage.studio,
            stage.backends,
            tally=tally,
            stop=over,
            seed=seed,
            project=stage.project.label_studio_id,
        )
        for number in range(annotators)
    ]
    helpers = [
        threading.Thread(target=_train_on_and_on, args=(stage, tally, over), daemon=True),
        threading.Thread(target=_watch_runs, args=(stage, tally, over), daemon=True),
        threading.Thread(target=_pause_in_turn, args=(stage, over, say), daemon=True),
    ]
    say(f"{annotators} annotators, {len(stage.tasks)} tasks, {minutes:g} minutes, seed {seed}")
    for thread in (*people, *helpers):
        thread.start()
    sizes = _kill_each_minute(stage, minutes, seed, say)
    over.set()
    for thread in (*people, *helpers):
        thread.join(150)
    say(", ".join(f"{count} {what}" for what, count in sorted(tally.done.items())))
    return _reckon(stage, tally, sizes, say)


def _kill_each_minute(stage: _Stage, minutes: float, seed: int, say: Say) -> list[tuple[int, int]]:
    """Kill each process once in each minute.

    Returns:
        the size of the steady backend after each minute.
    """
    chance, begun, sizes = random.Random(seed), time.monotonic(), []
    minute = 0
    while minute < minutes:
        moments = sorted((60 * (minute + chance.random()), place) for place in range(len(stage.killed)))
        for moment, place in moments:
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            stage.killed[place].kill_and_start()
        minute += 1
        time.sleep(max(0.0, begun + 60 * minute - time.monotonic()))
        sizes.append(stage.steady.size())
        say(f"minute {minute}: {_megabytes(sizes[-1][0])} and {sizes[-1][1]} handles of the backend that lives on")
    return sizes


def _reckon(stage: _Stage, tally: _Tally, sizes: Sequence[tuple[int, int]], say: Say) -> list[str]:
    context, project = stage.context, stage.project
    problems = []
    say("waiting until Label Studio answers and all runs are over …")
    _until(lambda: label_studio_server.is_healthy(stage.studio["url"]), _READY_WITHIN_S)
    begun = time.monotonic()
    with suppress(TimeoutError):
        _until(lambda: not _unfinished(stage), _QUIET_WITHIN_S)
    say(f"all runs over after {time.monotonic() - begun:.0f} s")
    if left := _unfinished(stage):
        problems.append(f"{left} runs are not over {_QUIET_WITHIN_S:.0f} s after the last kill")

    before = disagreements(context, project)
    result = sync(context, project.id)
    differing = disagreements(context, project)
    say(
        f"corrections: {result.corrections}; other than Label Studio's annotations: {len(differing)} "
        f"(before a last sync, for want of events while processes were dead: {len(before)})"
    )
    problems += differing

    ended = context.queue.runs.over(project.id)
    outcomes = Counter(f"{run.kind.value} {run.state.value}" for run in ended)
    say("runs: " + ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items())))
    problems += [f"run {run.id} failed without a reason" for run in ended if not run.message]
    problems += [f"run {run.id} was cancelled, by nobody" for run in ended if run.state is RunState.CANCELLED]
    say(f"attempts: {sum(run.attempts for run in ended)}; longest silence of a run: {tally.longest_still_s:.0f} s")
    if tally.longest_still_s > _STILL_S:
        problems.append(f"a run stood still for {tally.longest_still_s:.0f} s")

    broken = broken_versions(context, project)
    versions = context.versions.all_of(project.id)
    of_runs = Counter(run.version for run in ended if run.version)
    made = [info.version for info in versions if info.parent is not None]
    say(f"versions: {len(versions)}, broken: {len(broken)}, made by no run or by two: {len(set(made) ^ set(of_runs))}")
    problems += [*broken, *(f"{name} is not of one run" for name in made if of_runs[name] != 1)]
    problems += _not_serving(stage, context.versions.champion(project.id).version)
    doubled = _suggested_twice(stage)
    say(f"tasks with two suggestions of the champion, after a last captioning run: {len(doubled)}")
    problems += [f"task {task} has two suggestions of the champion" for task in doubled]

    checked, wrong = _wrong_answers(stage, tally)
    say(f"suggestions shown: {checked} different ones; of another picture, or of nobody: {len(wrong)}")
    problems += [*wrong, *([f"{tally.wrong_counts} answers of a wrong length"] if tally.wrong_counts else [])]

    for service in stage.killed:
        say(f"{service.name}: killed {service.kills} times, {service.orphans} orphans, {service.pauses} pauses")
        if service.orphans:
            problems.append(f"{service.name} left {service.orphans} orphans")
    return problems + _growth(sizes, say)


def _growth(sizes: Sequence[tuple[int, int]], say: Say) -> list[str]:
    """Memory and handles are flat when the last third is not above what was reached until then, plus a little."""
    last = max(len(sizes) // 3, 1)
    early, late = sizes[:-last] or sizes, sizes[-last:]
    (memory, handles), (memory_then, handles_then) = (
        (max(size[0] for size in part), max(size[1] for size in part)) for part in (late, early)
    )
    say(
        f"backend that lived on: {_megabytes(sizes[0][0])} and {sizes[0][1]} handles after the first minute, "
        f"{_megabytes(sizes[-1][0])} and {sizes[-1][1]} at the end"
    )
    problems = []
    if memory > memory_then * 1.1 + 30e6:
        problems.append(f"memory grew from {_megabytes(memory_then)} to {_megabytes(memory)}")
    if handles > handles_then + 20:
        problems.append(f"file handles grew from {handles_then} to {handles}")
    return problems


def _wrong_answers(stage: _Stage, tally: _Tally) -> tuple[int, list[str]]:
    """Compare each suggestion that was shown with that version's caption of the task's picture.

    Returns:
        How many were compared, and the wrong ones as sentences.
    """
    context, project = stage.context, stage.project
    by_version: dict[str, dict[int, set[str]]] = {}
    for task, version, caption in tally.shown:
        by_version.setdefault(version, {}).setdefault(task, set()).add(caption)
    number = project.label_studio_id
    numbers = list(stage.tasks)
    pictures = {
        task["id"]: open_image(base64.b64decode(task["data"]["image"].partition(",")[2]))
        for start in range(0, len(numbers), 100)
        for task in context.label_studio.tasks(number, numbers[start : start + 100])
    }
    wrong = []
    for version, shown in by_version.items():
        captioner = context.captioner(context.versions.get(project.id, version))
        tasks = sorted(shown)
        for start in range(0, len(tasks), _CHECKED_AT_ONCE):
            part = tasks[start : start + _CHECKED_AT_ONCE]
            for task, right in zip(part, captioner.caption([pictures[task] for task in part]), strict=True):
                wrong += [
                    f"task {task} was given {caption!r} by {version}, which says {right.caption!r} of its picture"
                    for caption in shown[task] - {right.caption}
                ]
    return len(tally.shown), wrong


def _not_serving(stage: _Stage, champion: str) -> list[str]:
    """The backends that do not serve the champion a minute later, in words."""
    task = next(iter(stage.tasks))
    found = stage.context.label_studio.tasks(stage.project.label_studio_id, [task])

    def served(backend: str) -> str:
        body = {
            "tasks": [{"id": task, "data": found[0]["data"]}],
            "project": f"{stage.project.label_studio_id}.1",
            "label_config": SAMPLE_LABEL_CONFIG,
        }
        answer = httpx.post(f"{backend}/predict", json=body, auth=(_USER, _PASSWORD), timeout=120, trust_env=False)
        return str(answer.raise_for_status().json()["results"][0]["model_version"])

    problems = []
    for backend in stage.backends:
        with suppress(TimeoutError):
            _until(lambda: served(backend) == champion, _SERVES_WITHIN_S)  # noqa: B023 (called at once)
        if (version := served(backend)) != champion:
            problems.append(f"{backend} serves {version}, and {champion} is champion")
    return problems


def _suggested_twice(stage: _Stage) -> list[int]:
    """The unlabelled tasks with several suggestions of the champion, after a run that puts that right."""
    context, project = stage.context, stage.project
    context.queue.request(project.id, RunKind.ANNOTATE, asked_by="soak")
    with suppress(TimeoutError):
        _until(lambda: not _unfinished(stage), _QUIET_WITHIN_S)
    champion = context.versions.champion(project.id).version
    return [
        task["id"]
        for task in context.label_studio.unlabelled_tasks_with_results(project.label_studio_id)
        if sum(prediction["model_version"] == champion for prediction in task["predictions"]) > 1
    ]


# What goes on beside the annotators ----------------------------------------------------------------------------------


def _train_on_and_on(stage: _Stage, tally: _Tally, over: threading.Event) -> None:
    while tally.done["annotations made"] < _ENOUGH_TO_LEARN and not over.wait(1):
        pass
    while not over.wait(2):
        with suppress(ServiceError):  # it is kept, and begins when Redis is back
            stage.context.queue.request_if_idle(stage.project.id, RunKind.FINETUNE, asked_by="soak")


def _pause_in_turn(stage: _Stage, over: threading.Event, say: Say) -> None:
    while True:
        for service in reversed(stage.killed):
            if over.wait(_BETWEEN_PAUSES_S):
                return
            say(f"{service.name} stands still for {_PAUSE_S:.0f} s")
            service.stand_still(over)


def _watch_runs(stage: _Stage, tally: _Tally, over: threading.Event) -> None:
    while not over.wait(1):
        for run in stage.context.queue.runs.active():
            if run.state is RunState.RUNNING and run.heartbeat_at is not None:
                still_s = (utc_now() - run.heartbeat_at).total_seconds()
                tally.longest_still_s = max(tally.longest_still_s, still_s)


def _unfinished(stage: _Stage) -> int:
    return len(stage.context.queue.runs.unfinished(stage.project.id))


# Starting and ending -------------------------------------------------------------------------------------------------


@contextmanager
def _stage(directory: Path, *, annotators: int) -> Iterator[_Stage]:
    login = label_studio_server.Login("soak@localhost", Secret("correct-horse-battery"), Secret("5" * 40))
    studio = {"url": f"http://localhost:{free_port()}", "token": login.token.reveal()}
    socket = directory / "redis.sock"
    ports = [free_port(), free_port()]
    backends = [f"http://localhost:{port}" for port in ports]
    variables = {
        "CAPTIONLOOP_HOME": str(directory / "home"),
        "CAPTIONLOOP_GATE": "always",
        "CAPTIONLOOP_USER": _USER,
        "CAPTIONLOOP_PASSWORD": _PASSWORD,
        "LABEL_STUDIO_URL": studio["url"],
        "LABEL_STUDIO_API_KEY": studio["token"],
        "REDIS_URL": redis_server.url(socket),
    }

    def ours(name: str, command: str, port: int) -> Program:
        known = {"CAPTIONLOOP_PORT": str(port), "CAPTIONLOOP_URL": backends[ports.index(port)]}
        return Program(name, (*_OURS, command), os.environ | variables | known)

    command = label_studio_install.install(Settings.read().cache, progress=_say)
    programs = [
        label_studio_server.program(
            command, data=directory / "studio", port=int(studio["url"].rpartition(":")[2]), login=login
        ),
        redis_server.program(socket),
        ours("worker", "worker", ports[0]),
        ours("backend", "serve", ports[0]),
        ours("steady-backend", "serve", ports[1]),
    ]
    services = [_Service(program, directory / f"{program.name}.log") for program in programs]
    with ExitStack() as stack:
        context = stack.enter_context(closing(Context.open(Settings.read(variables))))
        context.database.migrate()
        for service in services:
            service.start()
            stack.callback(service.kill)
        _until(lambda: label_studio_server.is_healthy(studio["url"]), _READY_WITHIN_S)
        for backend in backends:
            _until(lambda: _answers(backend), _READY_WITHIN_S)  # noqa: B023 (called at once)
        number = int(context.label_studio.create_project("A storm", SAMPLE_LABEL_CONFIG)["id"])
        scenes = [example("a storm", place) for place in range(annotators * _TASKS_PER_ANNOTATOR)]
        tasks = [{"data": {"image": _picture(scene, seed)}} for scene, seed in scenes]
        ids = context.label_studio.import_tasks(number, tasks)
        connect(
            number,
            label_studio=context.label_studio,
            database=context.database,
            seal=context.seal,
            server=context.settings.server_name,
            backend_url=backends[0],
            user=_USER,
            password=_PASSWORD,
        )
        with context.database.reading() as session:
            project = session.query(Project).one()
        context.versions.ensure_champion(project.id, context.base)
        yield _Stage(
            context,
            project,
            services[:-1],
            services[-1],
            studio,
            backends,
            {task: scene for task, (scene, _) in zip(ids, scenes, strict=True)},
        )


def _picture(scene: Scene, seed: int) -> str:
    file = io.BytesIO()
    draw(scene, seed=seed).resize((120, 90)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _until(holds: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.5)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
