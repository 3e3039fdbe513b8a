"""Near-duplicate detection: `python -m benchmarks.near_duplicates [--scenes 4000] [--copies 150]`.

The share of changed copies of drawn scenes that are detected, for each kind of change; then how many scenes are taken
for near-duplicates of another one, with the same and with a different caption; then the time for a large dataset
(`--images 100000`, of random patterns).
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageEnhance
from sqlalchemy import insert

from captionloop.home import Home
from captionloop.model.database import Database, Image
from captionloop.model.dataset.near_duplicates import are_alike, fingerprint, likeness, settle_all
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import caption, draw

Change = Callable[[Pillow.Image], Pillow.Image]


def saved_as_jpeg(quality: int) -> Change:
    def change(picture: Pillow.Image) -> Pillow.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return Pillow.open(file).convert("RGB")

    return change


def resized(factor: float) -> Change:
    return lambda picture: picture.resize((round(picture.width * factor), round(picture.height * factor)))


def brightened(factor: float) -> Change:
    return lambda picture: ImageEnhance.Brightness(picture).enhance(factor)


def cropped(share: float) -> Change:
    def change(picture: Pillow.Image) -> Pillow.Image:
        edge = round(picture.width * share)
        return picture.crop((edge, edge, picture.width - edge, picture.height - edge))

    return change


CHANGES: dict[str, Change] = {
    "JPEG, quality 85": saved_as_jpeg(85),
    "JPEG, quality 50": saved_as_jpeg(50),
    "half the size": resized(0.5),
    "one and a half times the size": resized(1.5),
    "20 % darker": brightened(0.8),
    "10 % brighter": brightened(1.1),
    "20 % brighter": brightened(1.2),
    "20 % less contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.8),
    "30 % less colour": lambda picture: ImageEnhance.Color(picture).enhance(0.7),
    "1 % cropped at each edge": cropped(0.01),
    "2 % cropped at each edge": cropped(0.02),
    "3 % cropped at each edge": cropped(0.03),
    "5 % cropped at each edge": cropped(0.05),
}


def copies(count: int) -> None:
    for size in (96, 384):
        scenes = [draw(scene, size, seed) for scene, seed in (example("near", index) for index in range(count))]
        print(f"\nfound of {count} copies of scenes of {size} pixels")
        for name, change in CHANGES.items():
            found = [are_alike(fingerprint(scene), fingerprint(change(scene))) for scene in scenes]
            print(f"  {name:30} {sum(found) / count:.3f}", flush=True)


def others(count: int) -> None:
    captions, fingerprints = [], []
    for index in range(count):
        scene, seed = example("near", index)
        captions.append(caption(scene))
        fingerprints.append(fingerprint(draw(scene, 96, seed)))
    alike, found = likeness(fingerprints)
    same = np.asarray([[one == other for other in captions] for one in captions])
    np.fill_diagonal(found, False)
    print(f"\namong {count} scenes, {count * (count - 1) // 2:,} pairs")
    print(f"  look like another with the same caption  {int((found & same).any(axis=1).sum())}")
    print(f"  look like another with another caption   {int((found & ~same).any(axis=1).sum())}")
    print(f"  the most similar with another caption    {float(alike[~same].max()):.4f}", flush=True)


def settling(count: int) -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite:///{directory}/captionloop.db")
        database.migrate()
        with database.session() as session:
            for start in range(0, count, 1000):
                rows = [
                    {
                        "sha256": f"{number:064x}", "size_bytes": 1, "width": 1, "height": 1,
                        "fingerprint": rng.integers(0, 256, 432, dtype=np.uint8).tobytes(),
                    }
                    for number in range(start, start + 1000)
                ]  # fmt: skip
                session.execute(insert(Image), rows)
        begun = time.perf_counter()
        settle_all(database, Home(Path(directory)))
        print(f"\n{count:,} images settled in {time.perf_counter() - begun:.0f} s", flush=True)
        database.close()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=4000)
    parser.add_argument("--copies", type=int, default=150)
    parser.add_argument("--images", type=int, default=100_000)
    given = parser.parse_args(arguments)
    copies(given.copies)
    others(given.scenes)
    settling(given.images)


if __name__ == "__main__":
    main()
