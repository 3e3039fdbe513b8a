"""From bytes to a picture: what is read, how it comes out, and what is refused with which words."""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from captionloop.errors import ImageError
from captionloop.image_limits import ImageLimits
from captionloop.model.dataset.images import content_hash, open_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def plain(mode: str = "RGB", colour: Any = RED, size: tuple[int, int] = (8, 6)) -> Image.Image:
    return Image.new(mode, size, colour)


def close(one: Any, other: tuple[int, int, int], tolerance: int = 6) -> bool:
    return bool(np.abs(np.subtract(one, other)).max() <= tolerance)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_the_usual_formats_are_read_as_rgb(file_format: str) -> None:
    image = open_image(encoded(plain(), file_format))
    assert (image.mode, image.size) == ("RGB", (8, 6))
    assert close(image.getpixel((3, 3)), RED)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_avif_is_read() -> None:
    assert close(open_image(encoded(plain(size=(32, 32)), "AVIF")).getpixel((3, 3)), RED)


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("1", 1, WHITE),
        ("L", 90, (90, 90, 90)),
        ("LA", (90, 255), (90, 90, 90)),
        ("LA", (90, 0), WHITE),
        ("RGBA", (255, 0, 0, 255), RED),
        ("RGBA", (255, 0, 0, 0), WHITE),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("I;16", 65535, WHITE),
        ("I;16", 257 * 90, (90, 90, 90)),
    ],
)
def test_each_kind_of_png_looks_as_in_a_browser(mode: str, colour: Any, seen: tuple[int, int, int]) -> None:
    assert open_image(encoded(plain(mode, colour))).getpixel((3, 3)) == seen


def test_cmyk_and_ycck_photographs_are_read() -> None:
    assert close(open_image(encoded(plain("CMYK", (0, 255, 255, 0)), "JPEG")).getpixel((3, 3)), RED)


@pytest.mark.parametrize(
    ("mode", "low", "high", "grey"),
    [
        ("F", 0.0, 0.5, 128),  # fractions
        ("F", 0.0, 90.0, 90),  # 8 bits
        ("I", 0, 257 * 90, 90),  # 16 bits in a 32-bit file
        ("I", 0, 10_000_000, 255),  # no usual range: stretched
        ("F", -3.0, 5.0, 255),
        ("F", 7.0e9, 7.0e9, 0),
    ],
)
def test_high_range_grey_is_brought_to_8_bits(mode: str, low: float, high: float, grey: int) -> None:
    image = plain(mode, low)
    image.putpixel((3, 3), high)
    assert open_image(encoded(image, "TIFF")).getpixel((3, 3)) == (grey, grey, grey)


def test_float_pixels_that_are_not_numbers_are_black() -> None:
    image = Image.fromarray(np.array([[np.nan, np.inf], [0.5, 1.0]], dtype=np.float32))
    assert open_image(encoded(image, "TIFF")).getpixel((0, 0)) == (0, 0, 0)


def test_palettes_keep_colours_and_transparency() -> None:
    picture = plain("RGB", GREEN)
    picture.putpixel((0, 0), BLUE)
    palette = picture.quantize(4)
    transparent = palette.getpixel((0, 0))
    assert open_image(encoded(palette)).getpixel((0, 0)) == BLUE
    seen_through = open_image(encoded(palette, transparency=transparent))
    assert (seen_through.getpixel((0, 0)), seen_through.getpixel((1, 1))) == (WHITE, GREEN)


@pytest.mark.parametrize(("mode", "colour"), [("RGB", RED), ("L", 90)])
def test_a_colour_marked_transparent_becomes_white(mode: str, colour: Any) -> None:
    assert open_image(encoded(plain(mode, colour), transparency=colour)).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(file_format: str) -> None:
    data = encoded(plain("RGB", RED), file_format, save_all=True, append_images=[plain("RGB", BLUE)])
    assert close(open_image(data).getpixel((3, 3)), RED)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_pictures_come_out_upright(file_format: str, orientation: int) -> None:
    upright = plain("RGB", WHITE, (32, 16))
    upright.paste(RED, (0, 0, 8, 8))
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(stored, file_format, exif=exif))
    assert image.size == (32, 16)
    assert close(image.getpixel((3, 3)), RED, 40)
    assert close(image.getpixel((28, 12)), WHITE, 40)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_metadata_is_no_reason_to_refuse_a_good_picture() -> None:
    assert open_image(encoded(plain(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7fgarbage")).size == (8, 6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not an image in a supported format"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\xef\xbb\xbf  <svg></svg>", "SVG"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "HEIC"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in a supported format"),
        (b"\x89PNG\r\n\x1a\n", "not an image in a supported format|header is damaged"),
    ],
)
def test_a_file_that_is_no_usable_image_is_refused_with_its_reason(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        open_image(data)


def test_formats_outside_the_list_are_not_even_tried() -> None:
    with pytest.raises(ImageError, match="not an image in a supported format"):
        open_image(encoded(plain(), "PCX"))


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_file_cut_short_is_refused(file_format: str) -> None:
    data = encoded(noise(), file_format)
    with pytest.raises(ImageError, match=r"cut short|damaged"):
        open_image(data[: len(data) // 2])


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_damaged_files_give_a_picture_or_an_image_error_and_nothing_else(file_format: str) -> None:
    whole = encoded(noise(), file_format)
    random = np.random.default_rng(1)
    for _ in range(60):
        data = bytearray(whole)
        for position in random.integers(0, len(data), 8):
            data[position] = random.integers(0, 256)
        try:
            image = open_image(bytes(data), limits=ImageLimits(max_pixels=1_000_000))
        except ImageError as error:
            assert str(error).endswith(".")  # noqa: PT017 - most of these files decode, in part
        else:
            assert image.mode == "RGB"


def test_too_many_bytes_are_refused() -> None:
    data = encoded(plain())
    with pytest.raises(ImageError, match=rf"{len(data)} bytes; the limit is 10\."):
        open_image(data, limits=ImageLimits(max_bytes=10))


def test_too_many_pixels_are_refused() -> None:
    with pytest.raises(ImageError, match=r"8 x 6 = 48 pixels; the limit is 40\."):
        open_image(encoded(plain()), limits=ImageLimits(max_pixels=40))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a huge picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_from_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        pytest.fail("the bomb was decoded")

    load: Callable[..., Any] = decode
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(ImageError, match=r"100,000 x 100,000 = 10,000,000,000 pixels"):
        open_image(bomb(100_000, 100_000))


def test_under_the_limit_no_warning_stands_in_for_a_refusal() -> None:
    with pytest.raises(ImageError, match=r"damaged or cut short"):  # it was decoded: Pillow itself would have warned
        open_image(bomb(10_000, 9_500))


def test_an_image_is_named_by_the_hash_of_its_bytes() -> None:
    assert content_hash(b"abc") == hashlib.sha256(b"abc").hexdigest()
