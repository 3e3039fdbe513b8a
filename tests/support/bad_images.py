"""Two hundred image files that nobody should have to read, the same ones each time.

Some are damaged, some lie about themselves, some are merely odd and good pictures all the same; `bad_images` names each
by what is wrong with it.
"""

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_SIGNATURES = {
    "JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "WEBP": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
    "GIF": b"GIF89a",
    "BMP": b"BM",
    "TIFF": b"II*\x00",
    "PPM": b"P6\n",
}
_ORIENTATION = 0x0112


def bad_images() -> dict[str, bytes]:
    """What is wrong with a file → its bytes."""
    made: dict[str, bytes] = {}
    for part in (_cut_short, _scrambled, _no_images, _only_signatures, _headers_that_lie, _odd_modes, _animations):
        made.update(part())
    for part in (_exif, _tiffs, _pngs, _jpegs, _shapes, _polyglots, _bombs):
        made.update(part())
    return made


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _noise(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    width, height = size
    values = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def _cut_short() -> Iterator[tuple[str, bytes]]:
    for name in _FORMATS:
        whole = encoded(_noise(), name)
        for share in (1, 5, 25, 50, 90, 99):
            yield f"{name} cut after {share} %", whole[: max(len(whole) * share // 100, 1)]
        yield f"{name} without its last byte", whole[:-1]


def _scrambled() -> Iterator[tuple[str, bytes]]:
    random = np.random.default_rng(1)
    for name in _FORMATS:
        whole = encoded(_noise(), name)
        for what, (low, high) in {"header": (8, 40), "middle": (40, len(whole) - 20), "end": (-20, -1)}.items():
            damaged = bytearray(whole)
            for place in random.integers(low, high, 6):
                damaged[place] = int(random.integers(0, 256))
            yield f"{name} with a scrambled {what}", bytes(damaged)
        yield f"{name} with its middle missing", whole[: len(whole) // 3] + whole[2 * len(whole) // 3 :]
        yield f"{name} of zeros after its header", whole[:40] + bytes(len(whole) - 40)


def _no_images() -> Iterator[tuple[str, bytes]]:
    yield "no bytes", b""
    yield "one byte", b"\x00"
    yield "a kilobyte of zeros", bytes(1024)
    yield "noise", np.random.default_rng(2).bytes(4096)
    yield "text", b"This is no image, whatever its name says.\n"
    yield "UTF-16 text", "This is no image.".encode("utf-16")
    yield "HTML", b"<!DOCTYPE html><html><head><title>Log in</title></head></html>"
    yield "HTML after a comment", b"<!-- cached --><html><body>502 Bad Gateway</body></html>"
    yield "JSON", b'{"error": "no such image"}'
    yield "SVG", b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
    yield "SVG with an entity bomb", _SVG_BOMB
    yield "SVG that loads a file", b'<?xml version="1.0"?><svg><image href="file:///etc/passwd"/></svg>'
    yield "PDF", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"
    yield "EPS", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\n"
    yield "HEIC", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
    yield "AVIF of a header alone", b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf"
    yield "MP4", b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
    yield "ZIP", b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + bytes(40)
    yield "gzip", b"\x1f\x8b\x08\x00" + bytes(40)
    yield "a program", b"\x7fELF\x02\x01\x01" + bytes(60)
    yield "PCX, which is not supported", encoded(_noise(), "PCX")
    yield "TGA, which is not supported", encoded(_noise(), "TGA")
    yield "ICO, which is not supported", encoded(_noise(), "ICO")
    yield "a pickle", b"\x80\x04cos\nsystem\n(S'true'\ntR."


_SVG_BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><svg xmlns="http://www.w3.org/2000/svg">&c;</svg>'
)


def _only_signatures() -> Iterator[tuple[str, bytes]]:
    for name, signature in _SIGNATURES.items():
        yield f"{name}: its first bytes and nothing else", signature
        yield f"{name}: its first bytes and then text", signature + b"the rest of this file is text " * 20
        for other in (_FORMATS[_FORMATS.index(name) - 1],):
            yield f"{name} in front of a whole {other}", signature + encoded(_noise(), other)


def _headers_that_lie() -> Iterator[tuple[str, bytes]]:
    for width, height in ((0, 10), (10, 0), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (1, 2**31 - 1)):
        yield f"PNG that says {width} x {height}", png(width, height)
    for width, height in ((0, 10), (10, 0), (65535, 65535), (65535, 1)):
        yield (
            f"GIF that says {width} x {height}",
            b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\x00\x00" + _GIF,
        )
        yield f"JPEG that says {width} x {height}", _jpeg_with_size(width, height)
    for width, height in ((0, 10), (2**31 - 1, 2**31 - 1), (-10, 10), (10, -(2**31))):
        yield f"BMP that says {width} x {height}", _bmp_with_size(width, height)
    for size in ("0 0", "-1 5", "99999999 99999999", "9" * 5000 + " 1", "four five", "4"):
        yield f"PPM that says {size[:20]}", b"P6\n" + size.encode() + b"\n255\n" + bytes(60)
    for maximum in ("0", "65536", "-1", "1" * 60):
        yield f"PPM whose brightest is {maximum[:20]}", b"P6\n2 2\n" + maximum.encode() + b"\n" + bytes(24)
    yield "PPM in text with a word among its numbers", b"P3\n2 2\n255\n1 2 3 4 5 6 red 8 9 10 11 12\n"
    yield "WEBP that says it is longer than it is", _webp_with_length(2**31)
    yield "WEBP that says it is shorter than it is", _webp_with_length(12)


_GIF = bytes([0, 0, 0, 255, 255, 255]) + b"\x2c\x00\x00\x00\x00\x02\x00\x02\x00\x00\x02\x03\x44\x02\x05\x00\x3b"


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 2,
    pixels: bytes = b"\x00",
    more: bytes = b"",
    adam7: int = 0,
) -> bytes:
    """A PNG with this header and these pixels, whether they fit together or not."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, adam7)
    data = chunk(b"IDAT", zlib.compress(pixels, 9))
    return _SIGNATURES["PNG"] + chunk(b"IHDR", header) + more + data + chunk(b"IEND", b"")


def _jpeg_with_size(width: int, height: int) -> bytes:
    whole = bytearray(encoded(_noise(), "JPEG"))
    frame = whole.index(b"\xff\xc0")
    whole[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(whole)


def _bmp_with_size(width: int, height: int) -> bytes:
    whole = bytearray(encoded(_noise(), "BMP"))
    whole[18:26] = struct.pack("<ii", width, height)
    return bytes(whole)


def _webp_with_length(length: int) -> bytes:
    whole = encoded(_noise(), "WEBP")
    return whole[:4] + struct.pack("<I", length) + whole[8:]


def _odd_modes() -> Iterator[tuple[str, bytes]]:
    yield "CMYK JPEG", encoded(_noise("CMYK"), "JPEG")
    yield "YCCK JPEG", _as_ycck(encoded(_noise("CMYK"), "JPEG"))
    yield "CMYK TIFF", encoded(_noise("CMYK"), "TIFF")
    yield "Lab TIFF", encoded(Image.new("LAB", (8, 6), (120, 140, 100)), "TIFF")
    yield "YCbCr TIFF", encoded(_noise("YCbCr"), "TIFF")
    yield "16-bit grey PNG", encoded(Image.new("I;16", (8, 6), 40_000), "PNG")
    yield "16-bit grey TIFF", encoded(Image.new("I;16", (8, 6), 40_000), "TIFF")
    yield "16-bit RGB PNG", png(4, 4, depth=16, pixels=(b"\x00" + bytes(range(24))) * 4)
    yield "16-bit RGBA PNG", png(4, 4, depth=16, colour=6, pixels=(b"\x00" + bytes(range(32))) * 4)
    yield "16-bit PPM", b"P6\n2 2\n65535\n" + bytes(range(24))
    yield "32-bit TIFF", encoded(Image.new("I", (8, 6), 2**31 - 1), "TIFF")
    yield "negative 32-bit TIFF", encoded(Image.new("I", (8, 6), -(2**31)), "TIFF")
    yield "TIFF of not-a-number", encoded(Image.fromarray(np.full((6, 8), np.nan, np.float32)), "TIFF")
    yield "TIFF of infinities", encoded(Image.fromarray(np.full((6, 8), np.inf, np.float32)), "TIFF")
    yield "TIFF of the largest numbers", encoded(Image.fromarray(_extremes()), "TIFF")
    yield "1-bit PNG", encoded(_noise("1"))
    yield "grey PNG with alpha", encoded(_noise("L").convert("LA"))
    yield "RGBA WEBP, all transparent", encoded(Image.new("RGBA", (8, 6), (9, 9, 9, 0)), "WEBP")
    yield "palette with transparency by entry", encoded(_noise().quantize(16), transparency=bytes(range(16)))
    yield "palette with one transparent entry", encoded(_noise().quantize(4), transparency=2)
    yield "palette with more transparencies than entries", encoded(_noise().quantize(4), transparency=bytes(200))
    yield (
        "PNG whose pixels name colours outside its palette",
        png(2, 2, colour=3, pixels=b"\x00\xfe\xff" * 2, more=_PLTE),
    )
    yield "palette PNG without a palette", png(2, 2, colour=3, pixels=b"\x00\x00\x01" * 2)
    yield (
        "palette of two and a half colours",
        png(2, 2, colour=3, pixels=b"\x00\x00\x01" * 2, more=chunk(b"PLTE", bytes(7))),
    )


_PLTE = chunk(b"PLTE", bytes(range(6)))


def _extremes() -> np.ndarray:
    return np.array([[-3.4e38, 3.4e38], [0.0, 1e-45]], dtype=np.float32)


def _as_ycck(jpeg: bytes) -> bytes:
    """The same bytes with a marker that says that they are YCCK."""
    place = jpeg.find(b"Adobe")
    if place < 0:
        return jpeg[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x02" + jpeg[2:]
    return jpeg[: place + 11] + b"\x02" + jpeg[place + 12 :]


def _animations() -> Iterator[tuple[str, bytes]]:
    frames = [Image.new("RGB", (12, 9), (shade, 0, 0)) for shade in range(0, 250, 25)]
    for name in ("GIF", "WEBP", "PNG", "TIFF"):
        whole = encoded(frames[0], name, save_all=True, append_images=frames[1:])
        yield f"animated {name}", whole
        yield f"animated {name}, cut in its later frames", whole[: len(whole) * 2 // 3]
    yield "GIF whose first frame lies outside it", _gif_frame(left=500, top=500)
    yield "GIF whose first frame is larger than it", _gif_frame(width=3000, height=3000)
    yield "GIF whose frame reaches across 4 gigapixels", _gif_frame(left=65000, top=65000, width=65535, height=65535)
    yield "GIF without a frame", b"GIF89a\x02\x00\x02\x00\x80\x00\x00" + _GIF[:6] + b"\x3b"
    yield "GIF with a frame of no size", _gif_frame(width=0, height=0)
    yield (
        "GIF that disposes what was never drawn",
        b"GIF89a\x02\x00\x02\x00\x80\x00\x00" + _GIF[:6] + (b"\x21\xf9\x04\x0d\x00\x00\xff\x00" + _GIF[6:]),
    )
    yield (
        "APNG that says it has 4 billion frames",
        png(2, 2, pixels=(b"\x00" + bytes(6)) * 2, more=chunk(b"acTL", struct.pack(">II", 2**32 - 1, 0))),
    )


def _gif_frame(*, left: int = 0, top: int = 0, width: int = 2, height: int = 2) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHH", left, top, width, height) + _GIF[15:]
    return b"GIF89a\x02\x00\x02\x00\x80\x00\x00" + _GIF[:6] + frame


def _exif() -> Iterator[tuple[str, bytes]]:
    for orientation in (0, 2, 5, 6, 8, 9, 65535):
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        yield f"EXIF orientation {orientation}", encoded(_noise(), "JPEG", exif=exif)
    for name, body in {
        "as a text": b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x02\x00\x00\x00\x02six\x00",
        "as a fraction of zero": b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x05\x00\x00\x00\x01\x00\x00\x00\x1a"
        + bytes(12),
        "that lies outside the file": b"II*\x00\xff\xff\xff\x7f",
        "with 65535 entries": b"II*\x00\x08\x00\x00\x00\xff\xff" + bytes(24),
        "that points at itself": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
        "of 4 billion orientations": b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\xff\xff\xff\xff\x06\x00\x00\x00",
        "of noise": np.random.default_rng(3).bytes(400),
        "of no bytes": b"",
    }.items():
        yield f"EXIF {name}", encoded(_noise(), "JPEG", exif=b"Exif\x00\x00" + body)
    yield "PNG with broken EXIF", encoded(_noise(), "PNG", exif=b"Exif\x00\x00garbage")
    yield "WEBP with broken EXIF", encoded(_noise(), "WEBP", exif=b"Exif\x00\x00garbage")


def _tiffs() -> Iterator[tuple[str, bytes]]:
    usual = {256: (4, 2), 257: (4, 2), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, 8), 277: (3, 1), 279: (4, 4)}
    yield "TIFF that is small and right", _tiff(usual)
    for name, (tag, kind, value) in {
        "of 4 billion pixels in a row": (256, 4, 2**32 - 1),
        "of no width": (256, 4, 0),
        "with 60,000 samples in a pixel": (277, 3, 60_000),
        "with 77 bits in a sample": (258, 3, 77),
        "in a compression that does not exist": (259, 3, 12_345),
        "in LZW that is none": (259, 3, 5),
        "in JPEG that is none": (259, 3, 7),
        "in fax that is none": (259, 3, 4),
        "in colours that do not exist": (262, 3, 999),
        "whose pixels lie outside the file": (273, 4, 2**32 - 1),
        "whose strip is said to have 4 billion bytes": (279, 4, 2**32 - 1),
        "with a width of a type that does not exist": (256, 99, 2),
        "with a width of text": (256, 2, 2),
    }.items():
        yield f"TIFF {name}", _tiff({**usual, tag: (kind, value)})
    yield "TIFF with 4 billion widths", _tiff(usual, counts={256: 2**32 - 1})
    yield "TIFF without a width", _tiff({tag: value for tag, value in usual.items() if tag != 256})
    yield "TIFF without pixels", _tiff({tag: value for tag, value in usual.items() if tag != 273})
    yield "TIFF whose directory follows itself", _tiff(usual, following=12)
    yield "BigTIFF", b"II+\x00\x08\x00\x00\x00" + struct.pack("<Q", 16) + struct.pack("<Q", 2**63)
    yield (
        "TIFF in the other byte order",
        encoded(_noise(), "TIFF")[:2].replace(b"II", b"MM") + encoded(_noise(), "TIFF")[2:],
    )


def _tiff(tags: dict[int, tuple[int, int]], *, counts: dict[int, int] | None = None, following: int = 0) -> bytes:
    """A grey TIFF with its four pixels at byte 8 and these tags (type, value) behind them."""
    entries = b"".join(
        struct.pack("<HHII", tag, kind, (counts or {}).get(tag, 1), value)
        for tag, (kind, value) in sorted(tags.items())
    )
    return (
        b"II*\x00\x0c\x00\x00\x00"
        + bytes([0, 90, 180, 255])
        + (struct.pack("<H", len(tags)) + entries + struct.pack("<I", following))
    )


def _pngs() -> Iterator[tuple[str, bytes]]:
    right = (b"\x00" + bytes(range(6))) * 2
    yield "PNG with a wrong checksum", png(2, 2, pixels=right)[:-5] + bytes(5)
    yield "PNG with too few pixels", png(20, 20, pixels=right)
    yield "PNG with a gigabyte too many pixels", png(2, 2, pixels=right + bytes(2**20))
    yield "PNG with a depth of 3", png(2, 2, depth=3, pixels=right)
    yield "PNG with colour type 7", png(2, 2, colour=7, pixels=right)
    yield "PNG with a filter that does not exist", png(2, 2, pixels=(b"\x09" + bytes(6)) * 2)
    yield "PNG interlaced in a way that does not exist", png(2, 2, pixels=right, adam7=9)
    yield "PNG said to be interlaced, and not", png(20, 20, pixels=(b"\x00" + bytes(60)) * 20, adam7=1)
    yield (
        "PNG with two headers",
        png(2, 2, pixels=right, more=chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0))),
    )
    yield (
        "PNG with a chunk of 2 gigabytes",
        png(2, 2, pixels=right)[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt" + right,
    )
    yield "PNG without pixels", _SIGNATURES["PNG"] + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
    yield "PNG with a colour profile that unfolds", png(2, 2, pixels=right, more=_profile(bytes(2**26)))
    yield (
        "PNG with a colour profile of noise",
        png(2, 2, pixels=right, more=_profile(np.random.default_rng(4).bytes(99))),
    )
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "\x00\ud7ff" + "x" * 900_000, zip=True)
    yield "PNG with a comment that unfolds", encoded(_noise(), pnginfo=info)
    yield "PNG with 300 comments", png(2, 2, pixels=right, more=chunk(b"tEXt", b"k\x00" + b"v" * 200) * 300)
    yield "PNG that is a fatal chunk alone", _SIGNATURES["PNG"] + chunk(b"XXXX", b"")


def _profile(body: bytes) -> bytes:
    return chunk(b"iCCP", b"profile\x00\x00" + zlib.compress(body, 9))


def _jpegs() -> Iterator[tuple[str, bytes]]:
    whole = encoded(_noise(), "JPEG")
    tables, scan = whole.index(b"\xff\xdb"), whole.index(b"\xff\xda")
    yield "JPEG without its tables", whole[:tables] + whole[whole.index(b"\xff\xc0") :]
    yield "JPEG without a scan", whole[:scan] + b"\xff\xd9"
    yield "JPEG with a scan of nothing", whole[: scan + 14] + b"\xff\xd9"
    yield "JPEG without an end", whole[:-2]
    yield "JPEG of restart markers", whole[: scan + 14] + b"\xff\xd0\xff\xd1" * 50 + b"\xff\xd9"
    yield "JPEG with 12 bits a sample", whole.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")
    yield "JPEG with two frames", whole[:scan] + whole[whole.index(b"\xff\xc0") :]
    yield "arithmetic JPEG", whole.replace(b"\xff\xc0", b"\xff\xc9", 1)
    yield "lossless JPEG", whole.replace(b"\xff\xc0", b"\xff\xc3", 1)
    yield "JPEG with a segment of no length", whole[:2] + b"\xff\xe1\x00\x00" + whole[2:]
    yield "JPEG with a broken colour profile", whole[:2] + b"\xff\xe2\x00\x14ICC_PROFILE\x00\x01\x02junk" + whole[2:]
    yield (
        "JPEG that says it holds more pictures",
        whole[:2] + b"\xff\xe2\x00\x10MPF\x00II*\x00\xff\xff\xff\xff" + b"ab" + whole[2:],
    )
    yield "progressive JPEG, cut", encoded(_noise(), "JPEG", progressive=True)[:-300]
    yield "progressive JPEG of 2,000 scans", _of_many_scans((1500, 1500), 2000)


def _of_many_scans(size: tuple[int, int], scans: int) -> bytes:
    """Small, and each of its scans goes over the whole picture: minutes of work without a limit."""
    whole = encoded(Image.new("L", size), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * scans + b"\xff\xd9"


def _shapes() -> Iterator[tuple[str, bytes]]:
    for width, height in ((1, 1), (1, 5000), (5000, 1), (65000, 1), (2, 2)):
        yield f"PNG of {width} x {height}", encoded(Image.new("RGB", (width, height), "red"))
    yield "JPEG of 1 x 1", encoded(Image.new("RGB", (1, 1)), "JPEG")
    yield "JPEG of 65500 x 1", encoded(Image.new("RGB", (65500, 1)), "JPEG")


def _polyglots() -> Iterator[tuple[str, bytes]]:
    right = encoded(_noise())
    script = b"<script>alert(1)</script>"
    yield "PNG and HTML", encoded(_noise())[:-12] + chunk(b"tEXt", b"Comment\x00" + script) + right[-12:]
    yield "GIF and JavaScript", b"GIF89a/*" + bytes(6) + b"*/=1;alert(1)//" + _GIF
    yield "JPEG and ZIP", encoded(_noise(), "JPEG") + b"PK\x03\x04" + bytes(60)
    yield "PNG and PDF", right + b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"
    yield "BMP and HTML", encoded(_noise(), "BMP") + script
    yield "PNG after a line of text", b"here it comes\n" + right
    for one, other in itertools.pairwise(("JPEG", "PNG", "GIF")):
        yield f"{one} with a {other} behind it", encoded(_noise(), one) + encoded(_noise(), other)


def _bombs() -> Iterator[tuple[str, bytes]]:
    """Small files of many pixels. The last ones are within the limit, and so have to be decoded."""
    yield "PNG bomb of 10 gigapixels", png(100_000, 100_000)
    yield "1-bit PNG bomb of 10 gigapixels", png(100_000, 100_000, depth=1, colour=0)
    yield "GIF bomb of 4 gigapixels", b"GIF89a\xff\xff\xff\xff\x80\x00\x00" + _GIF
    yield "TIFF bomb of 4 gigapixels", _tiff({256: (4, 65535), 257: (4, 65535), 258: (3, 1), 259: (3, 4), 273: (4, 8)})
    yield (
        "WEBP bomb of 268 megapixels",
        b"RIFF\x1a\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\xff\x3f\x00\xff\x3f\x00",
    )
    yield "PNG of 99 megapixels, 16 bits grey", _large_png(2, depth=16, colour=0)
    yield (
        "PNG of 99 megapixels, palette with alpha",
        _large_png(1, depth=8, colour=3, more=chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", bytes(range(256)))),
    )


def _large_png(bytes_per_pixel: int, *, depth: int, colour: int, more: bytes = b"") -> bytes:
    width, height = 11_000, 9_000
    compress = zlib.compressobj(9)
    line = b"\x00" + bytes(width * bytes_per_pixel)
    data = b"".join(compress.compress(line) for _ in range(height)) + compress.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return _SIGNATURES["PNG"] + chunk(b"IHDR", header) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")
