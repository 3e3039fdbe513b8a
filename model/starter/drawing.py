"""Draws a scene: flat colours, soft outlines, a few small details; the same scene and seed give the same pixels.

Positions are fractions of the picture's side, (0, 0) at the top left. Each kind is drawn in its own frame, from -1 to 1
in both directions, so that every kind fills about the same box and `small` and `large` mean the same for all.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from captionloop.model.starter.scenes import Scene

Colour = tuple[int, int, int]
Point = tuple[float, float]

# Half the side of a thing's box: 41 and 24 pixels across in a picture of 96.
RADII = {"large": 0.215, "small": 0.125}

FILLS: dict[str, Colour] = {
    "red": (222, 66, 62),
    "orange": (244, 144, 48),
    "yellow": (252, 215, 66),
    "green": (86, 172, 92),
    "blue": (66, 130, 214),
    "purple": (142, 92, 190),
    "pink": (247, 152, 190),
    "white": (253, 252, 249),
}
_INK: Colour = (52, 46, 66)
_BROWN: Colour = (134, 92, 62)
_LEAF: Colour = (98, 158, 86)
_GLASS: Colour = (206, 232, 244)
_WHITE: Colour = (255, 255, 255)
_MARGIN = 0.025
_GAP = 0.03


@dataclass(frozen=True)
class Position:
    """Position of a thing: its centre and half the side of its box, as fractions of the picture's side."""

    x: float
    y: float
    radius: float


def draw(scene: Scene, size: int = 96, seed: int = 0) -> Image.Image:
    """The picture of a scene.

    Args:
        scene: what to show.
        size: side in pixels; 96 is what the model sees, 480 looks good to people.
        seed: of everything that the caption does not mention: exact positions, tints, which way a car faces.

    Returns:
        An RGB picture, size x size, antialiased by drawing it larger first.
    """
    scale = 3 if size <= 128 else 2
    side = size * scale
    rng = random.Random(f"look {seed}")  # noqa: S311
    image = Image.new("RGB", (side, side))
    canvas = ImageDraw.Draw(image)
    _BACKGROUNDS[scene.background](canvas, side, rng)
    for thing, place in reversed(list(zip(scene.things, layout(scene, seed=seed), strict=True))):
        pen = _Pen(canvas, side, place, flip=rng.random() < 0.5)
        _KINDS[thing.kind](pen, FILLS[thing.colour])
    return image.reduce(scale)


def layout(scene: Scene, *, seed: int) -> list[Position]:
    """The places of a scene's things, in their order, as `draw` uses them with the same seed."""
    rng = random.Random(f"layout {seed}")  # noqa: S311
    radii = [RADII[thing.size] * rng.uniform(0.95, 1.03) for thing in scene.things]
    if len(radii) == 1:
        return [Position(_free(rng, radii[0]), _free(rng, radii[0]), radii[0])]
    if scene.relation == "in front of":
        return _overlapping(rng, radii)
    first, *others = radii
    along, across = (_row if len(others) == 1 else _group)(rng, first, others)
    if scene.relation == "above":
        along, across = across, along
    return [Position(x, y, radius) for x, y, radius in zip(along, across, radii, strict=True)]


def _free(rng: random.Random, radius: float) -> float:
    return rng.uniform(radius + _MARGIN, 1 - radius - _MARGIN)


def _row(rng: random.Random, first: float, others: Sequence[float]) -> tuple[list[float], list[float]]:
    """Two things one after the other along one axis, about level on the other."""
    (second,) = others
    along = _spread(rng, [first, second])
    level = _free(rng, max(first, second))
    across = [min(max(level + rng.uniform(-0.05, 0.05), r + _MARGIN), 1 - r - _MARGIN) for r in (first, second)]
    return along, across


def _group(rng: random.Random, first: float, others: Sequence[float]) -> tuple[list[float], list[float]]:
    """One thing along the axis before two others, which lie side by side across it."""
    widest = max(others)
    start, end = _spread(rng, [first, widest])
    across = _spread(rng, others)
    middle = (across[0] + across[1]) / 2 + rng.uniform(-0.06, 0.06)
    return [start, end, end], [min(max(middle, first + _MARGIN), 1 - first - _MARGIN), *across]


def _spread(rng: random.Random, radii: Sequence[float]) -> list[float]:
    """Centres of boxes in a line with at least a small gap between them and the rest of the room shared at random."""
    room = 1 - 2 * _MARGIN - 2 * sum(radii) - _GAP * (len(radii) - 1)
    before, between = sorted((rng.uniform(0, room), rng.uniform(0, room)))
    left = _MARGIN + before + radii[0]
    return [left, left + radii[0] + _GAP + (between - before) * 0.6 + radii[1]]


def _overlapping(rng: random.Random, radii: Sequence[float]) -> list[Position]:
    """The first thing covers a corner of the second, and stands lower, as nearer things do."""
    front, back = radii
    reach = (front + back) * rng.uniform(0.70, 0.78)
    angle = math.radians(rng.uniform(38, 55))
    right, down = reach * math.sin(angle), reach * math.cos(angle)
    to_the_back = (rng.choice((-right, right)), -down)
    x, y = (_between(rng, front, back, offset=offset) for offset in to_the_back)
    return [Position(x, y, front), Position(x + to_the_back[0], y + to_the_back[1], back)]


def _between(rng: random.Random, front: float, back: float, *, offset: float) -> float:
    """A coordinate for the front thing such that it and the one `offset` away both stay inside the picture."""
    low = _MARGIN + max(front, back - offset)
    high = 1 - _MARGIN - max(front, back + offset)
    return rng.uniform(low, high)


class _Pen:
    """Draws in one thing's own frame: -1 to 1, y downwards, outlined in a dark shade of the fill."""

    def __init__(self, canvas: ImageDraw.ImageDraw, side: int, place: Position, *, flip: bool) -> None:
        self._canvas = canvas
        self._x, self._y, self._unit = place.x * side, place.y * side, place.radius * side
        self._mirror = -1 if flip else 1
        # Thin enough for a small thing, never under one pixel of a 96-pixel picture.
        self._line = max(side / 96 * 1.05, self._unit * 0.062)

    def polygon(self, points: Sequence[Point], fill: Colour, *, outline: Colour | None = None) -> None:
        """Corners are rounded by as much as the line is wide."""
        at = [self._at(point) for point in points]
        edge = outline or _outline(fill)
        self._canvas.polygon(at, fill=fill)
        self._canvas.line([*at, at[0], at[1]], fill=edge, width=round(self._line), joint="curve")

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour, *, bare: bool = False) -> None:
        cx, cy = self._at((x, y))
        rx, ry = rx * self._unit, ry * self._unit
        half = 0 if bare else self._line / 2
        if not bare:
            self._canvas.ellipse((cx - rx - half, cy - ry - half, cx + rx + half, cy + ry + half), fill=_outline(fill))
        if rx > half and ry > half:
            self._canvas.ellipse((cx - rx + half, cy - ry + half, cx + rx - half, cy + ry - half), fill=fill)

    def blob(self, circles: Sequence[tuple[float, float, float]], fill: Colour) -> None:
        """Several circles (x, y, radius) melted into one outlined shape."""
        half = self._line / 2
        for colour, grow in ((_outline(fill), half), (fill, -half)):
            for x, y, r in circles:
                cx, cy = self._at((x, y))
                radius = r * self._unit + grow
                self._canvas.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=colour)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: Colour, *, bare: bool = False, r: float = 0.0
    ) -> None:
        (ax, ay), (bx, by) = self._at((x0, y0)), self._at((x1, y1))
        self._canvas.rounded_rectangle(
            (min(ax, bx), ay, max(ax, bx), by),
            radius=r * self._unit,
            fill=fill,
            outline=None if bare else _outline(fill),
            width=round(self._line),
        )

    def stroke(self, points: Sequence[Point], colour: Colour, *, width: float = 1.0) -> None:
        at = [self._at(point) for point in points]
        thick = self._line * width
        self._canvas.line(at, fill=colour, width=round(thick), joint="curve")
        for x, y in (at[0], at[-1]):
            self._canvas.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=colour)

    def _at(self, point: Point) -> Point:
        return self._x + self._mirror * point[0] * self._unit, self._y + point[1] * self._unit


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[Point]:
    """Points on an ellipse from one angle to another, in degrees, clockwise from the right."""
    steps = max(4, round(abs(end - start) / 9))
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    """`share` of b in a."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def _outline(fill: Colour) -> Colour:
    return _mix(fill, _INK, 0.62)


def _darker(fill: Colour) -> Colour:
    return _mix(fill, _INK, 0.2)


def _lighter(fill: Colour) -> Colour:
    return _mix(fill, _WHITE, 0.4)


def _detail(fill: Colour) -> Colour:
    """A highlight, or on white, where none would show, a shade."""
    return _lighter(fill) if fill != FILLS["white"] else _darker(fill)


def _eye(pen: _Pen, x: float, y: float, r: float) -> None:
    pen.ellipse(x, y, r, r * 1.2, _INK, bare=True)
    pen.ellipse(x - r * 0.3, y - r * 0.4, r * 0.38, r * 0.38, _WHITE, bare=True)


def _smile(pen: _Pen, x: float, y: float, r: float, colour: Colour) -> None:
    pen.stroke(_arc(x, y, r, r * 0.8, 25, 155), colour, width=0.8)


def _house(pen: _Pen, fill: Colour) -> None:
    pen.box(0.36, -0.86, 0.6, -0.2, _darker(fill))
    pen.box(-0.76, -0.2, 0.76, 0.94, fill)
    pen.polygon([(-0.98, -0.1), (0.0, -0.96), (0.98, -0.1)], _darker(fill))
    pen.ellipse(0, -0.42, 0.14, 0.14, _GLASS)
    pen.box(-0.2, 0.3, 0.2, 0.94, _BROWN, r=0.08)
    pen.ellipse(0.1, 0.64, 0.045, 0.045, FILLS["yellow"], bare=True)
    for x in (-0.48, 0.48):
        pen.box(x - 0.17, 0.1, x + 0.17, 0.44, _GLASS)
        pen.stroke([(x, 0.12), (x, 0.42)], _outline(_GLASS), width=0.6)


def _tree(pen: _Pen, fill: Colour) -> None:
    pen.polygon([(-0.15, 0.2), (0.15, 0.2), (0.22, 0.96), (-0.22, 0.96)], _BROWN)
    pen.blob(
        [(-0.45, 0.1, 0.42), (0.45, 0.1, 0.42), (0, -0.4, 0.55), (-0.3, -0.2, 0.45), (0.3, -0.2, 0.45), (0, 0.1, 0.45)],
        fill,
    )
    for x, y in ((-0.3, -0.42), (0.22, -0.12), (-0.42, 0.12)):
        pen.stroke(_arc(x, y, 0.16, 0.14, 180, 290), _detail(fill), width=1.2)


def _car(pen: _Pen, fill: Colour) -> None:
    pen.polygon([(-0.6, -0.02), (-0.42, -0.58), (-0.3, -0.66), (0.25, -0.66), (0.36, -0.58), (0.66, -0.02)], fill)
    pen.polygon([(-0.44, -0.06), (-0.31, -0.48), (-0.06, -0.48), (-0.06, -0.06)], _GLASS)
    pen.polygon([(0.08, -0.06), (0.08, -0.48), (0.24, -0.48), (0.47, -0.06)], _GLASS)
    pen.box(-0.97, -0.06, 0.97, 0.5, fill, r=0.2)
    pen.stroke([(0.01, 0.04), (0.01, 0.4)], _darker(fill), width=0.8)
    pen.stroke([(0.12, 0.12), (0.26, 0.12)], _outline(fill), width=0.8)
    pen.ellipse(0.86, 0.14, 0.09, 0.11, FILLS["yellow"])
    for x in (-0.52, 0.52):
        pen.ellipse(x, 0.46, 0.27, 0.27, _INK)
        pen.ellipse(x, 0.46, 0.12, 0.12, (216, 218, 226), bare=True)


def _boat(pen: _Pen, fill: Colour) -> None:
    pen.stroke([(0.0, -0.94), (0.0, 0.4)], _BROWN, width=1.6)
    pen.polygon([(0.1, -0.84), (0.82, 0.2), (0.1, 0.2)], fill)
    pen.polygon([(-0.1, -0.62), (-0.1, 0.2), (-0.66, 0.2)], _lighter(fill))
    pen.polygon([(-0.97, 0.36), (0.97, 0.36), (0.62, 0.86), (-0.58, 0.86)], fill)
    pen.stroke([(-0.84, 0.54), (0.84, 0.54)], _lighter(fill) if fill != FILLS["white"] else _GLASS, width=1.4)
    for x in (-0.3, 0.0, 0.3):
        pen.ellipse(x, 0.69, 0.06, 0.06, _GLASS)


def _fish(pen: _Pen, fill: Colour) -> None:
    pen.polygon([(-0.4, 0.0), (-0.97, -0.5), (-0.84, 0.0), (-0.97, 0.5)], _darker(fill))
    pen.polygon([(-0.3, -0.4), (-0.1, -0.78), (0.4, -0.42)], _darker(fill))
    pen.polygon([(-0.1, 0.4), (-0.16, 0.72), (0.22, 0.42)], _darker(fill))
    pen.ellipse(0.16, 0.0, 0.78, 0.54, fill)
    pen.stroke(_arc(0.14, 0.0, 0.24, 0.42, -62, 62), _darker(fill), width=1.2)
    for x, y in ((-0.36, -0.14), (-0.08, -0.14), (-0.22, 0.14), (0.06, 0.14)):
        pen.stroke(_arc(x, y, 0.1, 0.1, -70, 70), _detail(fill), width=0.9)
    pen.ellipse(0.58, -0.13, 0.14, 0.14, _WHITE)
    pen.ellipse(0.61, -0.13, 0.07, 0.07, _INK, bare=True)
    _smile(pen, 0.74, 0.08, 0.13, _outline(fill))


def _cat(pen: _Pen, fill: Colour) -> None:
    pen.stroke([*_arc(0.6, 0.5, 0.3, 0.36, 90, -60), (0.72, 0.06)], _outline(fill), width=3.6)
    pen.stroke([*_arc(0.6, 0.5, 0.3, 0.36, 90, -60), (0.72, 0.06)], fill, width=1.9)
    pen.ellipse(0, 0.56, 0.56, 0.4, fill)
    pen.polygon([(-0.66, -0.3), (-0.62, -0.96), (-0.12, -0.62)], fill)
    pen.polygon([(0.66, -0.3), (0.62, -0.96), (0.12, -0.62)], fill)
    for side in (-1, 1):
        pen.polygon(
            [(side * 0.54, -0.5), (side * 0.54, -0.78), (side * 0.32, -0.62)], FILLS["pink"], outline=FILLS["pink"]
        )
    pen.ellipse(0, -0.18, 0.72, 0.56, fill)
    _eye(pen, -0.28, -0.22, 0.11)
    _eye(pen, 0.28, -0.22, 0.11)
    pen.polygon([(-0.07, 0.0), (0.07, 0.0), (0.0, 0.07)], _outline(fill))
    _smile(pen, -0.09, 0.08, 0.1, _outline(fill))
    _smile(pen, 0.09, 0.08, 0.1, _outline(fill))
    for side in (-1, 1):
        pen.stroke([(side * 0.46, 0.02), (side * 0.94, -0.06)], _outline(fill), width=0.5)
        pen.stroke([(side * 0.46, 0.1), (side * 0.92, 0.16)], _outline(fill), width=0.5)
        pen.ellipse(side * 0.2, 0.88, 0.18, 0.1, _lighter(fill))


def _sun(pen: _Pen, fill: Colour) -> None:
    for turn in range(10):
        angle = turn * math.tau / 10
        tip = (0.98 * math.cos(angle), 0.98 * math.sin(angle))
        base = [(0.6 * math.cos(angle + d), 0.6 * math.sin(angle + d)) for d in (-0.24, 0.24)]
        pen.polygon([base[0], tip, base[1]], fill)
    pen.ellipse(0, 0, 0.6, 0.6, fill)
    _eye(pen, -0.2, -0.1, 0.085)
    _eye(pen, 0.2, -0.1, 0.085)
    for x in (-0.36, 0.36):
        pen.ellipse(x, 0.1, 0.1, 0.07, _mix(fill, FILLS["red"], 0.3), bare=True)
    _smile(pen, 0, 0.08, 0.2, _outline(fill))


def _cloud(pen: _Pen, fill: Colour) -> None:
    pen.blob(
        [
            (-0.56, 0.2, 0.4),
            (-0.18, -0.2, 0.48),
            (0.32, -0.08, 0.42),
            (0.62, 0.24, 0.35),
            (0.0, 0.28, 0.34),
            (0.3, 0.28, 0.32),
        ],
        fill,
    )
    pen.stroke(_arc(-0.22, -0.22, 0.28, 0.28, 190, 280), _lighter(fill), width=1.4)
    _eye(pen, -0.2, 0.12, 0.08)
    _eye(pen, 0.2, 0.12, 0.08)
    _smile(pen, 0, 0.22, 0.1, _outline(fill))


def _flower(pen: _Pen, fill: Colour) -> None:
    pen.stroke([(0, 0.2), (0.03, 0.6), (0, 0.96)], _outline(_LEAF), width=2.6)
    pen.stroke([(0, 0.2), (0.03, 0.6), (0, 0.96)], _LEAF, width=1.3)
    for side in (-1, 1):
        pen.polygon([(side * 0.04, 0.84), (side * 0.2, 0.56), (side * 0.54, 0.48), (side * 0.4, 0.76)], _LEAF)
    petals = [(0.4 * math.cos(i * math.tau / 6), -0.32 + 0.4 * math.sin(i * math.tau / 6)) for i in range(6)]
    for x, y in petals:
        pen.ellipse(x, y, 0.28, 0.28, fill)
    pen.ellipse(0, -0.32, 0.22, 0.22, (250, 196, 70) if fill != FILLS["yellow"] else (176, 108, 52))


def _umbrella(pen: _Pen, fill: Colour) -> None:
    hook = [(0.0, -0.1), (0.0, 0.74), *_arc(0.15, 0.74, 0.15, 0.18, 180, 0)]
    pen.stroke(hook, _outline(_BROWN), width=2.6)
    pen.stroke(hook, _BROWN, width=1.4)
    pen.stroke([(0, -0.98), (0, -0.8)], _outline(_BROWN), width=1.4)
    dome = _arc(0, 0.05, 0.97, 0.9, 180, 360)
    scallops = [p for x in (0.727, 0.2425, -0.2425, -0.727) for p in _arc(x, 0.05, 0.2425, 0.13, 360, 180)]
    pen.polygon([*dome, *scallops], fill)
    for left, right in ((-0.485, 0.0), (0.485, 0.97)):
        outer = [(x, y) for x, y in _arc(0, 0.05, right, 0.9, 270, 360)]
        inner = [(x, y) for x, y in _arc(0, 0.05, left, 0.9, 360, 270)]
        middle = (left + right) / 2
        pen.polygon([*outer, *_arc(middle, 0.05, 0.2425, 0.13, 360, 180), *inner], _darker(fill))


_KINDS: dict[str, Callable[[_Pen, Colour], None]] = {
    "house": _house,
    "tree": _tree,
    "car": _car,
    "boat": _boat,
    "fish": _fish,
    "cat": _cat,
    "sun": _sun,
    "cloud": _cloud,
    "flower": _flower,
    "umbrella": _umbrella,
}

_TINTS: tuple[Colour, ...] = (
    (250, 243, 226),
    (232, 243, 236),
    (236, 232, 246),
    (252, 234, 228),
    (228, 238, 248),
    (240, 240, 236),
)


def _plain(canvas: ImageDraw.ImageDraw, side: int, rng: random.Random) -> None:
    canvas.rectangle((0, 0, side, side), fill=rng.choice(_TINTS))


def _fade(canvas: ImageDraw.ImageDraw, side: int, top: Colour, bottom: Colour) -> None:
    bands = 32
    for band in range(bands):
        y = side * band // bands
        canvas.rectangle((0, y, side, side * (band + 1) // bands), fill=_mix(top, bottom, band / (bands - 1)))


def _sky(canvas: ImageDraw.ImageDraw, side: int, rng: random.Random) -> None:
    _fade(canvas, side, _mix((182, 218, 242), (206, 206, 242), rng.random()), (243, 247, 246))


def _grass(canvas: ImageDraw.ImageDraw, side: int, rng: random.Random) -> None:
    _fade(canvas, side, (226, 240, 206), (202, 228, 176))
    blade = (166, 204, 140)
    for row in range(9):
        for _ in range(7):
            x, y = rng.uniform(0, side), side * (row + rng.random()) / 9
            for lean in (-0.014, 0.0, 0.014):
                canvas.line((x, y, x + lean * side, y - 0.028 * side), fill=blade, width=max(1, side // 160))


def _sand(canvas: ImageDraw.ImageDraw, side: int, rng: random.Random) -> None:
    _fade(canvas, side, (250, 240, 214), (243, 226, 190))
    for _ in range(110):
        x, y = rng.uniform(0, side), rng.uniform(0, side)
        r = side * rng.uniform(0.003, 0.007)
        canvas.ellipse((x - r, y - r, x + r, y + r), fill=rng.choice(((222, 200, 158), (234, 214, 174))))


def _dots(canvas: ImageDraw.ImageDraw, side: int, rng: random.Random) -> None:
    tint = rng.choice(_TINTS)
    canvas.rectangle((0, 0, side, side), fill=tint)
    step, r = side / 8, side * 0.017
    shift = rng.random()
    for row in range(-1, 10):
        for column in range(-1, 10):
            x, y = (column + shift + (row % 2) / 2) * step, (row + shift) * step
            canvas.ellipse((x - r, y - r, x + r, y + r), fill=_mix(tint, _INK, 0.09))


def _stripes(canvas: ImageDraw.ImageDraw, side: int, rng: random.Random) -> None:
    tint = rng.choice(_TINTS)
    canvas.rectangle((0, 0, side, side), fill=tint)
    step, shift, lean = side / 7, rng.random(), rng.choice((-1, 0, 1))
    for band in range(-8, 16):
        x = (band + shift) * step
        corners = ((x, 0), (x + step / 2, 0), (x + step / 2 + lean * side, side), (x + lean * side, side))
        canvas.polygon(corners, fill=_mix(tint, _INK, 0.05))


_BACKGROUNDS: dict[str, Callable[[ImageDraw.ImageDraw, int, random.Random], None]] = {
    "plain": _plain,
    "sky": _sky,
    "grass": _grass,
    "sand": _sand,
    "dots": _dots,
    "stripes": _stripes,
}
