"""Decoding of untrusted image files.

The only module that opens image files. The result is always upright 8-bit RGB, as the annotator sees it in the browser;
anything else raises an `ImageError` whose message is one sentence.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from captionloop.errors import ImageError
from captionloop.image_limits import ImageLimits

# Pillow's own limit is one number for the whole process, and only warns up to twice that. `open_image` refuses by
# `ImageLimits`, from the header, before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None

# Only these are tried. Pillow knows forty more; several of them start other programs (EPS) or are rarely fuzzed.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")

_ORIENTATION_TAG = 0x0112
# EXIF 2.32, table 6: the transformation that makes a picture of this orientation upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_REMEDY = "save it as JPEG or PNG"

# A progressive JPEG is decoded scan by scan, each over the whole picture, and a scan may take up no more than ten
# bytes of the file. Encoders make about ten scans; with thousands, a small file keeps a core busy for minutes.
_MOST_SCANS = 64
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a JPEG's, other than those within a scan
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9

# Pixels converted at once, which bounds the memory beside the picture and its RGB.
_STRIP_PIXELS = 1_000_000


_DEFAULT_LIMITS = ImageLimits()


def content_hash(data: bytes) -> str:
    """The SHA-256 of the file's bytes, as 64 hexadecimal digits: the name of an image everywhere in Captionloop."""
    return hashlib.sha256(data).hexdigest()


def open_image(data: bytes, *, limits: ImageLimits = _DEFAULT_LIMITS) -> Image.Image:
    """Decode an image file.

    Args:
        data: the whole file, in one of `FORMATS`.
        limits: refuses what is larger, from the size and the header alone.

    Returns:
        The first frame, mode RGB, 8 bits per channel, EXIF orientation applied, transparency flattened on white.

    Raises:
        ImageError: the bytes are empty, not a supported image, damaged, truncated, or over a limit.
    """
    if not data:
        raise ImageError("The image file is empty.")
    if len(data) > limits.max_bytes:
        raise ImageError(f"The image file has {len(data):,} bytes; the limit is {limits.max_bytes:,}.")
    image: Image.Image = _read_header(data)
    file_format, (width, height) = image.format, image.size
    if width * height > limits.max_pixels:
        raise ImageError(
            f"The image has {width:,} x {height:,} = {width * height:,} pixels; the limit is {limits.max_pixels:,}."
        )
    if file_format in ("JPEG", "MPO"):
        _refuse_many_scans(data)
    # A decoder fed with hostile bytes may raise anything (struct.error, zlib.error, IndexError, SyntaxError, ...).
    try:
        with _memory.room_for(width * height):
            image.load()
            orientation = _orientation(image)
            image = _to_rgb(image)  # frees the picture in its original mode
            return _upright(image, orientation)
    except MemoryError as error:
        said = f"There is not enough memory to decode an image of {width:,} x {height:,} pixels."
        raise ImageError(said, may_pass=True) from error
    except Exception as error:
        raise ImageError(f"The {file_format} image is damaged or cut short ({_reason(error)}).") from error


class _Memory:
    """Bounds the memory of concurrent decoding to that of one picture of the largest size."""

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def room_for(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for so many pixels; a single picture is admitted whatever its size."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + pixels <= self._pixels)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


_memory = _Memory(_DEFAULT_LIMITS.max_pixels)


def _refuse_many_scans(jpeg: bytes) -> None:
    scans, place = 0, 2
    while marker := _MARKER.search(jpeg, place):
        kind = marker[0][1]
        if kind == _END_OF_IMAGE:
            return
        scans += kind == _START_OF_SCAN
        if scans > _MOST_SCANS:
            raise ImageError(
                f"The JPEG image has more than {_MOST_SCANS} scans, each a pass over all of it; {_REMEDY}."
            )
        length = int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
        place = marker.end() + length


def _read_header(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(_what_it_is(data)) from error
    except Exception as error:
        raise ImageError(f"The file starts like an image but its header is damaged ({_reason(error)}).") from error


def _what_it_is(data: bytes) -> str:
    """The name of common file types that people send instead of a supported image."""
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return f"The file is an SVG drawing, which is not supported; {_REMEDY}."
    if start.startswith((b"<!doctype html", b"<html")):
        return "The file is a web page, not an image; the address may need a login."
    if start.startswith(b"%pdf"):
        return f"The file is a PDF document, not an image; {_REMEDY}."
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return f"The file is a HEIC photograph, which is not supported; {_REMEDY}."
    return f"The file is not an image in a supported format ({', '.join(FORMATS)}), or its header is damaged."


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if the metadata is damaged, which is no reason to refuse a good picture."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
        return int(value)
    except Exception:  # noqa: BLE001 - third-party parser on untrusted bytes; see above
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    convert = _conversion(image)
    converted = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        converted.paste(convert(strip), (0, top))
    return converted


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The picture in horizontal strips, from top to bottom, each with its first row."""
    rows = max(_STRIP_PIXELS // image.width, 1)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """The function that converts a strip of this picture to RGB."""
    if image.mode.startswith("I;16"):
        return lambda strip: _grey(_values(strip) / 257)  # 65535 / 257 = 255
    if image.mode in ("I", "F"):
        base, factor = _to_8_bit(image)
        return lambda strip: _grey((_values(strip) - base) * factor)
    if image.has_transparency_data:
        return _flatten
    return lambda strip: strip.convert("RGB")


def _to_8_bit(image: Image.Image) -> tuple[float, float]:
    """Offset to subtract from grey values of unknown range, and factor to multiply by then, to get 0..255.

    The usual ranges (fractions, 8 bits, 16 bits) keep their meaning, so that a dark picture stays dark; any other
    range is stretched from its smallest to its largest value.
    """
    extremes = [
        (float(values.min()), float(values.max())) for _, strip in _strips(image) for values in (_values(strip),)
    ]
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    if low >= 0:
        for full in (1.0, 255.0, 65535.0):
            if high <= full:
                return 0.0, 255.0 / full
    return low, 255.0 / max(high - low, 1e-12)


def _values(image: Image.Image) -> np.ndarray:
    """The grey values of a picture, float64 (H, W). NaN and infinity count as 0."""
    return np.nan_to_num(np.asarray(image).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _grey(values: np.ndarray) -> Image.Image:
    """float64 (H, W) in 0..255 to an RGB picture."""
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")


def _flatten(image: Image.Image) -> Image.Image:
    """Composite a picture with alpha (a channel, or a transparent palette entry or colour) on white."""
    if image.mode == "La":  # premultiplied; Pillow converts it only to LA
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")
