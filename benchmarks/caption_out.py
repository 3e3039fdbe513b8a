"""`captionloop caption --out` of many pictures, killed twice: `python -m benchmarks.caption_out [--pictures 10000]`.

Captions drawn pictures of 32 x 24 pixels into each format, with a BLIP of the published layout, two layers and random
weights. The command is ended by SIGKILL after a third and after two thirds of the captions, then goes on to the end.
Prints for each format whether each picture has its caption once, the seconds of the three parts, and the peak memory
of the last.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from tests.model.captioning.published_layout import write_base
from tests.support.peak_memory import peak_bytes

from captionloop.model.exchange.caption_output import FORMATS, Format
from captionloop.model.exchange.reading import BadRow, find_source

_NAMES = {"jsonl": "out.jsonl", "csv": "out.csv", "coco": "out.json"}
_PER_DIRECTORY = 1000


def make(directory: Path, count: int) -> None:
    for number in range(count):
        path = directory / f"{number // _PER_DIRECTORY}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 24), (number % 256, number // 256, 77)).save(path)


def written(out: Path, form: Format) -> int:
    """About how many captions are there."""
    if form == "sidecar":
        return sum(1 for _ in out.rglob("*.txt"))
    file = {"imagefolder": out / "metadata.jsonl", "coco": out.with_name(f"{out.name}.part")}.get(form, out)
    return file.read_bytes().count(b"\n") if file.exists() else 0


def start(pictures: Path, model: Path, out: Path, form: Format) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.caption_out", "--run", str(pictures), str(model), str(out), form]
    return subprocess.Popen(command, env=os.environ | {"CAPTIONLOOP_BEAMS": "1"}, stdout=subprocess.PIPE, text=True)


def run(pictures: str, model: str, out: str, form: str) -> None:
    """In the process that is measured."""
    from captionloop.backend.cli import main as command

    try:
        command(["caption", pictures, "--model", model, "--out", out, "--format", form])
    finally:
        print(f"peak {peak_bytes() / 2**20:.0f}", flush=True)


def measure(pictures: Path, model: Path, out: Path, form: Format, count: int) -> None:
    seconds = []
    for part in (1, 2):
        begun = time.perf_counter()
        with start(pictures, model, out, form) as process:
            while written(out, form) < part * count // 3:
                assert process.poll() is None, "it ended by itself"
                time.sleep(0.2)
            process.send_signal(signal.SIGKILL)
        seconds.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    with start(pictures, model, out, form) as process:
        said, _ = process.communicate()
    seconds.append(time.perf_counter() - begun)
    captions, others = captions_of(pictures, out, form)
    is_once = len(captions) == count and set(captions.values()) == {1} and not others
    peak = next(line.split()[1] for line in said.splitlines() if line.startswith("peak"))
    took = " + ".join(f"{part:.0f}" for part in seconds)
    said = f"{form:12} {len(captions):6} pictures, each once: {is_once}   {took} s   {peak} MiB   {others or ''}"
    print(said.rstrip(), flush=True)


def captions_of(pictures: Path, out: Path, form: Format) -> tuple[Counter[str], list[str]]:
    """How many captions each picture has, by our own readers, and files that have nothing to do there."""
    if form == "sidecar":
        found = Counter(
            f"{path.relative_to(out).with_suffix('.png')}" for path in out.rglob("*.txt") if path.read_text()
        )
        # A kill within a write leaves a hidden file, which no reader takes for a caption.
        return found, [path.name for path in out.rglob("[!.]*") if path.is_file() and path.suffix != ".txt"]
    counts: Counter[str] = Counter()
    bad = []
    for row in find_source(out).rows():
        if isinstance(row, BadRow):
            bad.append(row.reason)
        else:
            counts[row.picture.path.name] += len(row.captions)
    return counts, bad


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--format", choices=FORMATS, nargs="+", default=FORMATS)
    parser.add_argument("--run", nargs=4, metavar=("PICTURES", "MODEL", "OUT", "FORMAT"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.run:
        run(*given.run)
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        pictures, model = directory / "pictures", directory / "model"
        make(pictures, given.pictures)
        write_base(model)
        for form in given.format:
            measure(pictures, model, directory / _NAMES.get(form, form), form, given.pictures)


if __name__ == "__main__":
    main()
