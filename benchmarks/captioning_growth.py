"""CPU time and memory of captioning runs by project size:
`python -m benchmarks.captioning_growth [--sizes 1000 10000] [--json]`.

A scripted Label Studio has a project with that many unlabelled tasks, each with its own picture. A separate process
captions them all, as a worker's job does; its CPU time and peak memory are measured, without Label Studio's. The model
is a tiny one with random weights, since a real one has a constant cost per picture, which would hide other growth.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measured import Used, measured, say_used
from tests.support.models import add_project, tiny_base
from tests.support.pictures import picture
from tests.support.scripted_studio import TOKEN, scripted_studio
from tests.support.servers import running_redis

from captionloop.jobs.captioning.annotate_run import run_annotate
from captionloop.jobs.context import Context
from captionloop.model.database import RunKind
from captionloop.settings import Settings


@dataclass(frozen=True)
class Growth:
    tasks: int
    used: Used


def captioned(size: int) -> Growth:
    with (
        tempfile.TemporaryDirectory(prefix="captionloop-") as home,
        scripted_studio() as studio,
        running_redis() as redis,
    ):
        for number in range(size):
            studio.add_task({"image": picture(f"#{number:06x}")})
        used = measured("benchmarks.captioning_growth", "--caption", studio.url, home, redis.url)
        counts = {len(task["predictions"]) for task in studio.tasks.values()}
        if counts != {1}:
            raise RuntimeError(f"Each task should have one suggestion, but there are tasks with {sorted(counts)}.")
        return Growth(size, used)


def _caption(url: str, home: str, redis_url: str) -> None:
    settings = {
        "CAPTIONLOOP_HOME": home,
        "CAPTIONLOOP_MODEL": tiny_base(Path(home) / "base").source,
        "LABEL_STUDIO_API_KEY": TOKEN,
        "LABEL_STUDIO_URL": url,
        "REDIS_URL": redis_url,
    }
    with closing(Context.open(Settings.read(settings))) as context:
        context.database.migrate()
        runs = context.queue.runs
        attempt = runs.start(
            runs.request(add_project(context.database).id, RunKind.ANNOTATE, asked_by="benchmark").run.id
        )
        assert attempt is not None
        run_annotate(context, attempt)
    say_used()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--caption", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.caption:
        _caption(*options.caption)
        return
    print("  tasks   s of CPU   ms of CPU per task   MB", file=sys.stderr)
    found = []
    for size in options.sizes:
        found.append(captioned(size))
        used = found[-1].used
        print(
            f"{size:7,}   {used.cpu_s:8.0f}   {1000 * used.cpu_s / size:18.1f}   {used.peak_mb:4.0f}",
            file=sys.stderr,
            flush=True,
        )
    if options.json:
        print(json.dumps([asdict(growth) for growth in found], indent=2))


if __name__ == "__main__":
    main()
