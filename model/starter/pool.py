"""Training pictures, drawn once and cached on disk, since drawing them again would cost much CPU time."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path

import numpy as np
import numpy.typing as npt

from captionloop.model.starter.scenes import Scene, draw, random_scene

IMAGE_SIZE = 96
_CHUNK = 500


def example(split: str, index: int) -> tuple[Scene, int]:
    """The scene and the picture's seed at an index of an endless series; two series are independent."""
    rng = random.Random(f"{split} {index}")  # noqa: S311
    return random_scene(rng), rng.getrandbits(48)


def drawn(directory: Path, *, split: str, count: int, workers: int) -> npt.NDArray[np.uint8]:
    """The first `count` pictures of a series: uint8 (count, IMAGE_SIZE, IMAGE_SIZE, 3).

    Args:
        directory: where the file is kept; a file that is already there is used again.
        split: the series.
        count: how many.
        workers: processes that draw.
    """
    path = directory / f"{split}-{count}.npy"
    if not path.exists():
        images = np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
        jobs = [(split, start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
        with multiprocessing.get_context("spawn").Pool(workers) as processes:
            for (_, start, end), part in zip(jobs, processes.imap(_draw_chunk, jobs), strict=True):
                images[start:end] = part
        unfinished = path.with_suffix(".part.npy")
        np.save(unfinished, images)
        unfinished.rename(path)
    loaded: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r")  # paged in on demand, without copying a gigabyte
    return loaded


def _draw_chunk(job: tuple[str, int, int]) -> npt.NDArray[np.uint8]:
    split, start, end = job
    pictures = []
    for index in range(start, end):
        scene, seed = example(split, index)
        pictures.append(np.asarray(draw(scene, IMAGE_SIZE, seed)))
    return np.stack(pictures)
