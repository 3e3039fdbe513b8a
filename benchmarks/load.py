"""How long 50 annotators wait, beside a run and during a swap: `python -m benchmarks.load [--json]`.

Needs Locust: `pip install '.[load]'`. A server of its own serves versions of the starter model; each of 50 people opens
one of 400 tasks, ten seconds after the last on average; somebody looks at `/health` five times a second. Three times in
one run: alone; while the starter model is fine-tuned on the same cores with the lowest priority, as a worker does; and
while another version is promoted in the middle. Locust works on the same cores, too.
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
from benchmarks.seed import seed
from benchmarks.served_room import PASSWORD, USER, served_room

from captionloop.backend.bench.material import write_pictures
from captionloop.backend.bench.served import Server
from captionloop.backend.bench.turns import Side
from captionloop.home import Home
from captionloop.model.database import Database
from captionloop.model.starter import STARTER_DIR
from captionloop.model.versions import VersionStore

_PEOPLE, _TASKS = 50, 400
_SETTLES_S, _WARM_WITHIN_S = 30, 120


@dataclass(frozen=True)
class Answers:
    """How one phase went; times in milliseconds."""

    phase: str
    captions: int
    failures: int
    median: float
    p95: float
    health_p99: float


def load(seconds: int) -> tuple[list[Answers], tuple[int, int]]:
    """The three phases, and the server's memory before and after the swap, in bytes."""
    with tempfile.TemporaryDirectory(prefix="captionloop-") as directory:
        home, pictures = Home(Path(directory) / "home"), Path(directory) / "pictures"
        write_pictures(pictures, _TASKS)
        seed(home, corrections_count=20, versions=3, images=20)
        champion, other = _versions(home)
        with served_room(home) as room:
            _wait_until_warm(room)
            found = [_phase("alone", room, pictures, seconds)]
            with _training(pictures):
                found.append(_phase("beside a run", room, pictures, seconds))
            before = psutil.Process(room.pid).memory_info().rss
            swap = threading.Timer(seconds / 2, _promote, (room, other))
            swap.start()
            found.append(_phase("with a swap", room, pictures, seconds))
            swap.join()
            time.sleep(_SETTLES_S)
            assert _champion(home) == other != champion
            return found, (before, psutil.Process(room.pid).memory_info().rss)


def _wait_until_warm(room: Server) -> None:
    """Until the champion is loaded."""
    deadline = time.monotonic() + _WARM_WITHIN_S
    while httpx.get(f"{room.address}/ready", auth=(USER, PASSWORD), trust_env=False).status_code != 200:
        if time.monotonic() > deadline:
            raise RuntimeError("The server did not load its champion.")
        time.sleep(0.5)


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
def _training(pictures: Path) -> Iterator[None]:
    """The starter model's fine-tuning until the block ends, a step after the other."""
    command = [
        "nice", "-n", "19",
        sys.executable, "-m", "captionloop.backend.bench.ours", "decoder", str(STARTER_DIR), str(pictures),
    ]  # fmt: skip
    is_over = threading.Event()
    with Side("a run", command, {}) as run:

        def keep_going() -> None:
            while not is_over.is_set():
                run.turn("train")

        thread = threading.Thread(target=keep_going)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def _versions(home: Home) -> tuple[str, str]:
    """The champion of the seeded project, and another one."""
    with closing(Database(f"sqlite:///{home.database}")) as database:
        versions = VersionStore(database, home.versions)
        champion = versions.champion(1).version
        return champion, next(found.version for found in versions.all_of(1) if found.version != champion)


def _champion(home: Home) -> str:
    return _versions(home)[0]


def _promote(room: Server, version: str) -> None:
    command = [sys.executable, "-c", "from captionloop.backend.cli import main; main()", "promote", version]
    subprocess.run(command, env=room.environment, check=True, stdout=subprocess.DEVNULL)


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
