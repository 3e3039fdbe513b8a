"""Small datasets of captioned pictures, written as people write them."""

import io
from pathlib import Path

from PIL import Image


def picture_bytes(number: int, *, kind: str = "PNG", size: int = 24) -> bytes:
    """A picture unlike those of other numbers."""
    image = Image.new("RGB", (size, size), (number % 256, number // 256 % 256, 77))
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def write_pictures(directory: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_bytes(number, kind="JPEG" if path.suffix == ".jpg" else "PNG"))
