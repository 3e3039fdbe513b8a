"""How long 50 annotators wait, beside a run and during a swap: `python -m benchmarks.load [--json]`.

Needs Locust: `pip install '.[load]'`. A server serves versions of the starter model; each of 50 people opens one of 400
tasks, ten seconds after the last on average; `/health` is requested five times a second. Three phases: alone; while a
worker on the same cores does a fine-tuning run; and with a promotion in the middle. Locust and the scripted Label
Studio of the run use the same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil
from benchmarks.served_room import PASSWORD, USER, served_room
from tests.support.models import add_project
from tests.support.pictures import picture_of_scene
from tests.support.processes import COMMAND, running, until
from tests.support.scripted_studio import TOKEN, scripted_studio
from tests.support.versions import add_copy

from captionloop.backend.bench.material import write_pictures
from captionloop.backend.bench.served import Server
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import Database, RunKind, RunState
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import caption
from captionloop.model.versions.base import Base
from captionloop.model.versions.store import VersionStore
from captionloop.settings import Settings

_PEOPLE, _TASKS, _ANNOTATED = 50, 400, 60
_PROJECT = 1
_ENDLESS = 1_000_000  # steps
_SETTLES_S = 30


@dataclass(frozen=True)
class Answers:
    """The results of one phase; times in milliseconds."""

    phase: str
    captions: int
    failures: int
    median: float
    p95: float
    health_p99: float


def load(seconds: int) -> tuple[list[Answers], tuple[int, int]]:
    """The three phases, and the server's memory before and after the swap, in bytes."""
    with tempfile.TemporaryDirectory(prefix="captionloop-") as temporary, scripted_studio() as studio:
        directory = Path(temporary)
        home, pictures = Home(directory / "home"), directory / "pictures"
        write_pictures(pictures, _TASKS)
        for place in range(_ANNOTATED):
            scene, seed = example("annotated", place)
            studio.annotate(studio.add_task({"image": picture_of_scene(scene, seed=seed)}), caption(scene))
        other = _project(home)
        account = {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": TOKEN}
        with served_room(home, account) as room:
            until(lambda: _is_ready(room))
            found = [_phase("alone", room, pictures, seconds)]
            with _training(room, directory):
                found.append(_phase("beside a run", room, pictures, seconds))
            before = psutil.Process(room.pid).memory_info().rss
            swap = threading.Timer(seconds / 2, _promote, (room, other))
            swap.start()
            found.append(_phase("with a swap", room, pictures, seconds))
            swap.join()
            time.sleep(_SETTLES_S)
            return found, (before, psutil.Process(room.pid).memory_info().rss)


def _project(home: Home) -> str:
    """Make a project whose champion is the starter model; the name of another version of it."""
    home.create()
    with closing(Database(f"sqlite:///{home.database}")) as database:
        database.migrate()
        project = add_project(database)
        assert project.id == _PROJECT
        versions = VersionStore(database, home.versions)
        versions.ensure_champion(project.id, Base("starter", GenerationSettings()))
        return add_copy(versions, project, versions.champion(project.id))


def _is_ready(room: Server) -> bool:
    return httpx.get(f"{room.address}/ready", auth=(USER, PASSWORD), trust_env=False).status_code == 200


def _phase(name: str, room: Server, pictures: Path, seconds: int) -> Answers:
    environment = os.environ | {
        "BENCHMARK_PICTURES": str(pictures), "BENCHMARK_USER": USER, "BENCHMARK_PASSWORD": PASSWORD
    }  # fmt: skip
    command = [
        sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("annotators.py")), "--headless",
        "--host", room.address, "-u", str(_PEOPLE + 1), "-r", "10", "-t", f"{seconds}s", "--json", "--only-summary",
    ]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    try:
        entries = {entry["name"]: entry for entry in json.loads(done.stdout)}
    except ValueError as error:
        raise RuntimeError(f"Locust did not report:\n{done.stderr}") from error
    captions, health = entries["/predict"], entries["/health"]
    return Answers(
        phase=name,
        captions=captions["num_requests"],
        failures=captions["num_failures"] + health["num_failures"],
        median=_percentile(captions, 0.5),
        p95=_percentile(captions, 0.95),
        health_p99=_percentile(health, 0.99),
    )


def _percentile(entry: Mapping[str, dict[str, int]], share: float) -> float:
    """From Locust's histogram, whose buckets are milliseconds with two digits."""
    counts = sorted((float(time_ms), count) for time_ms, count in entry["response_times"].items())
    wanted = share * sum(count for _, count in counts)
    for time_ms, count in counts:
        wanted -= count
        if wanted <= 0:
            return time_ms
    raise ValueError("no answers")


@contextmanager
def _training(room: Server, directory: Path) -> Iterator[None]:
    """A worker, and a fine-tuning run that it trains on from the beginning of the block to its end."""
    with (
        running("worker", log=directory / "worker.log", environment=room.environment),
        closing(Context.open(Settings.read(room.environment))) as context,
    ):
        run = context.queue.request(_PROJECT, RunKind.FINETUNE, asked_by="benchmark", settings={"steps": _ENDLESS}).run
        until(lambda: _stage(context, run.id) == "training")
        yield
        if _stage(context, run.id) != "training":
            raise RuntimeError("The run did not go on all the time.")


def _stage(context: Context, run_id: str) -> str | None:
    run = context.queue.runs.get(run_id)
    return run.detail.get("stage") if run and run.state is RunState.RUNNING else None


def _promote(room: Server, version: str) -> None:
    subprocess.run([*COMMAND, "promote", version], env=room.environment, check=True, stdout=subprocess.DEVNULL)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=90, help="of each phase")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    found, (before, after) = load(options.seconds)
    if options.json:
        print(json.dumps({"phases": [asdict(answers) for answers in found], "memory": [before, after]}, indent=2))
        return
    print("phase          captions  failures  median ms  p95 ms  /health p99 ms")
    for answers in found:
        print(
            f"{answers.phase:13}  {answers.captions:8}  {answers.failures:8}  {answers.median:9.0f}  {answers.p95:6.0f}"
            f"  {answers.health_p99:14.0f}"
        )
    print(f"memory of the server: {before / 1e6:.0f} MB before the swap, {after / 1e6:.0f} MB {_SETTLES_S} s after it")


if __name__ == "__main__":
    main()
