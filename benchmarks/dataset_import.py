"""Time and memory of `captionloop dataset import`: `python -m benchmarks.dataset_import [--pairs 10000 100000]`.

Makes a folder of images (320 x 240 pixels) and a file of captions, five for each image as in Flickr8k, or as many as
`--captions` says, and imports it in a process of its own; then once more, when all of it is there already.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tests.support.peak_memory import peak_bytes

from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.database import Database, Project
from captionloop.model.exchange.importing import find_source, import_dataset


def make(directory: Path, pairs: int, captions: int) -> None:
    rng = np.random.default_rng(0)
    (directory / "Images").mkdir(parents=True)
    with (directory / "captions.txt").open("w") as file:
        file.write("image,caption\n")
        for number in range(pairs // captions):
            pattern = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
            pattern.resize((320, 240), Image.Resampling.BICUBIC).save(directory / "Images" / f"{number}.jpg")
            file.writelines(f"{number}.jpg,caption {n} of {number}\n" for n in range(captions))


def run(source: Path, root: Path) -> None:
    """In the process that is measured."""
    home = Home(root)
    home.create()
    database = Database(f"sqlite:///{home.database}")
    database.migrate()
    with database.session() as session:
        project = session.query(Project).first() or Project(server="x", label_studio_id=1, webhook_secret="x")
        session.add(project)
        session.flush()
        project_id = project.id
    begun = time.perf_counter()
    result = import_dataset(
        find_source(source), project_id, database=database, home=home, limits=ImageLimits(), on_bad=print,
        on_progress=lambda _: None,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    peak = peak_bytes() / 2**20
    print(f"{result.new:>7} new  {result.known:>7} known  {seconds:7.1f} s  {peak:6.0f} MiB at the most", flush=True)
    database.close()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--captions", type=int, default=5, help="for each image")
    parser.add_argument("--run", type=Path, nargs=2, metavar=("SOURCE", "HOME"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.run:
        run(*given.run)
        return
    for pairs in given.pairs:
        with tempfile.TemporaryDirectory() as directory:
            source = Path(directory) / "dataset"
            make(source, pairs, given.captions)
            for _ in range(2):
                command = [sys.executable, "-m", "benchmarks.dataset_import", "--run", str(source), f"{directory}/home"]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
