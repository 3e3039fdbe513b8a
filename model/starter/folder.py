"""A folder of drawn scenes with a caption beside each, to try things on."""

from __future__ import annotations

from pathlib import Path

from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import draw
from captionloop.model.starter.styles import STYLES


def draw_folder(directory: Path, count: int, *, style: str = "new_words", series: str = "folder") -> Path:
    """Draw pictures `0000.png`, `0001.png`, … with `0000.txt`, … in a house style that the starter model never saw.

    Args:
        directory: made if it is not there.
        style: one of `STYLES`; the caption begins with a capital and ends with a full stop, as people write.
        series: another series has other scenes.

    Returns:
        the directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        scene, seed = example(series, number)
        text = STYLES[style](scene).rstrip(".")
        draw(scene, seed=seed).save(directory / f"{number:04}.png")
        (directory / f"{number:04}.txt").write_text(f"{text[0].upper()}{text[1:]}.\n", encoding="utf-8")
    return directory
