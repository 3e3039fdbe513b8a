"""Pictures as they come from cameras, scanners and drawing programs, and not from a test."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

_ORIENTATION, _LYING_ON_ITS_RIGHT_SIDE = 0x0112, 6


def _transparent(picture: Image.Image, path: Path) -> Path:
    copy = picture.convert("RGBA")
    copy.putalpha(200)
    copy.save(path := path.with_suffix(".png"))
    return path


def _palette(picture: Image.Image, path: Path) -> Path:
    picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=32).save(path := path.with_suffix(".png"))
    return path


def _transparent_palette(picture: Image.Image, path: Path) -> Path:
    picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=32).save(
        path := path.with_suffix(".png"), transparency=0
    )
    return path


def _deep(picture: Image.Image, path: Path) -> Path:
    """16 bits of grey."""
    Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(path := path.with_suffix(".png"))
    return path


def _turned(picture: Image.Image, path: Path) -> Path:
    """Stored on its side, with a word in its EXIF that it is."""
    exif = Image.Exif()
    exif[_ORIENTATION] = _LYING_ON_ITS_RIGHT_SIDE
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    turned.save(path := path.with_suffix(".jpg"), quality=95, exif=exif)
    return path


def _for_print(picture: Image.Image, path: Path) -> Path:
    picture.convert("CMYK").save(path := path.with_suffix(".jpg"), quality=95)
    return path


def _plain(picture: Image.Image, path: Path) -> Path:
    picture.save(path := path.with_suffix(".png"))
    return path


ODD: Mapping[str, Callable[[Image.Image, Path], Path]] = {
    "transparent": _transparent,
    "palette": _palette,
    "transparent palette": _transparent_palette,
    "16 bits": _deep,
    "turned by EXIF": _turned,
    "CMYK": _for_print,
}
"""Each writes the picture in its kind, and gives the file."""


def save_as_it_comes(picture: Image.Image, path: Path, number: int) -> Path:
    """Write a picture, every second one plainly, the others in all kinds in turn; the file has its kind's suffix."""
    save = _plain if number % 2 else list(ODD.values())[number // 2 % len(ODD)]
    return save(picture, path)
