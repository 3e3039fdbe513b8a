"""`captionloop project create` of a directory: `python -m benchmarks.folder_project [--pictures 1500]`.

Starts a Label Studio, and makes projects of JPEGs of 320 x 240 pixels, half of which have a caption beside them: copied
into Label Studio, and served from where they lie; each once more when all are there. Prints the seconds and the peak
memory of each call, and what came of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image
from tests.support.attachable import attachable_backend
from tests.support.peak_memory import peak_bytes
from tests.support.servers import CACHE, running_label_studio, running_redis

from captionloop.backend.label_studio.client import LabelStudio

_PER_DIRECTORY = 500


def make(directory: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        path = directory / f"{number // _PER_DIRECTORY}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pattern = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        pattern.resize((320, 240), Image.Resampling.BICUBIC).save(path)
        if number % 2:
            path.with_suffix(".txt").write_text(f"picture {number}\n")


def run(title: str, images: str) -> None:
    """In the process that is measured."""
    from captionloop.backend.cli import main as command

    begun = perf_counter()
    try:
        command(["project", "create", "--title", title, "--images", images, "--json"])
    finally:
        print(f"{perf_counter() - begun:.0f} s {peak_bytes() / 2**20:.0f} MiB", file=sys.stderr, flush=True)


def measure(what: str, images: Path, environment: dict[str, str], studio: LabelStudio) -> None:
    command = [sys.executable, "-m", "benchmarks.folder_project", "--run", what, str(images)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    figures = done.stderr.splitlines()[-1]
    if done.returncode:
        raise SystemExit(done.stderr)
    made = json.loads(done.stdout)
    files = [task.data["file"] for task in studio.all_tasks(made["project_id"])]
    counts = f"{made['new']} new, {made['known']} known; {len(files)} tasks of {len(set(files))} files"
    print(f"{what:10} {figures}  {counts}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--run", nargs=2, metavar=("TITLE", "IMAGES"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.run:
        run(*given.run)
        return
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(running_label_studio(directory / "studio", cache=CACHE))
        environment = {
            "CAPTIONLOOP_HOME": str(directory / "home"),
            "CAPTIONLOOP_URL": stack.enter_context(attachable_backend()),
            "LABEL_STUDIO_API_KEY": server.token,
            "LABEL_STUDIO_URL": server.url,
            "REDIS_URL": stack.enter_context(running_redis()).url,
        }
        studio = LabelStudio(server.url, server.token)
        for what, place in (("copied", directory / "pictures"), ("in place", server.data / "folders" / "pictures")):
            make(place, given.pictures)
            measure(what, place, environment, studio)
            measure(what, place, environment, studio)
        studio.close()


if __name__ == "__main__":
    main()
