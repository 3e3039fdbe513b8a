"""Small charts as inline SVG, with the colours of the page's style sheet, without script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 520, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 14, 28
_MOST_NAMES = 8  # under the axis; more would overlap
_SPARK_WIDTH, _SPARK_HEIGHT = 120, 28
_MOST_POINTS = 120  # of a loss curve; losses of single steps are too noisy


@dataclass(frozen=True)
class VersionPoint:
    """A version in a chart: its figure with the 95 % interval, and the number of corrections it was trained on."""

    version: str
    value: float
    low: float
    high: float
    count: int


def version_chart(points: Sequence[VersionPoint], *, title: str, is_share: bool, champion: str) -> Markup:
    """A figure over versions: points with their intervals, joined; the champion's filled.

    Args:
        is_share: the values are shares, so that the axis runs from 0 to 100 %; else from 0 to the largest.
    """
    if not points:
        return Markup("")
    top = 1.0 if is_share else max(_round_up(max(point.high for point in points)), 1.0)
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(points), 1)
    height = _HEIGHT - _TOP - _BOTTOM
    xs = [_LEFT + step * (index + 0.5) for index in range(len(points))]

    def y(value: float) -> float:
        return _TOP + height * (1 - min(value, top) / top)

    said = escape(_said(points, title, is_share))
    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{said}">']
    for share in (0, 0.5, 1):
        value = top * share
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        )
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y(value) + 4:.1f}">{_shown(value, is_share)}</text>')
    line = " ".join(f"{x:.1f},{y(point.value):.1f}" for x, point in zip(xs, points, strict=True))
    parts.append(f'<polyline class="curve" points="{line}"/>')
    every = -(-len(points) // _MOST_NAMES)
    for index, (x, point) in enumerate(zip(xs, points, strict=True)):
        kind = "point champion" if point.version == champion else "point"
        told = (
            f"{point.version}: {_shown(point.value, is_share)} {title}, 95 % interval "
            f"{_shown(point.low, is_share)} to {_shown(point.high, is_share)}, of {point.count} corrections"
        )
        parts.append(
            f'<g class="mark"><title>{escape(told)}</title>'
            f'<rect class="reach" x="{x - step / 2:.1f}" y="{_TOP}" width="{step:.1f}" height="{height}"/>'
            f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{y(point.low):.1f}" y2="{y(point.high):.1f}"/>'
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y(point.value):.1f}" r="4.5"/></g>'
        )
        if (len(points) - 1 - index) % every == 0:
            name = escape(point.version.partition("-")[0])
            parts.append(f'<text class="name" x="{x:.1f}" y="{_HEIGHT - 8}">{name}</text>')
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 (numbers, and names that are escaped)


def loss_chart(losses: Sequence[tuple[int, float]], *, steps: int | None = None) -> Markup:
    """The loss over the steps of a run, the mean of a few steps at each point.

    Args:
        losses: step and loss of each step.
        steps: the total, for a fixed axis; None ends the axis at the last step.
    """
    if len(losses) < 2:
        return Markup("")
    points = _means(losses, _MOST_POINTS)
    last = max(steps or 0, losses[-1][0])
    ticks = _ticks([loss for _, loss in points])
    bottom, top = ticks[0], ticks[-1]
    height, width = _HEIGHT - _TOP - _BOTTOM, _WIDTH - _LEFT - _RIGHT

    def place(step: float, loss: float) -> str:
        return f"{_LEFT + width * step / last:.1f},{_TOP + height * (top - loss) / (top - bottom):.1f}"

    said = f"Loss, {points[0][1]:.3f} at first, {points[-1][1]:.3f} at step {losses[-1][0]}"
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{said}"><title>{said}</title>'
    ]
    for tick in ticks:
        y = _TOP + height * (top - tick) / (top - bottom)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}">{tick:.4g}</text>')
    for share in (0, 0.5, 1):
        name = f"step {last}" if share == 1 else f"{last * share:.0f}"
        anchor = "tick" if share == 1 else "name"
        parts.append(f'<text class="{anchor}" x="{_LEFT + width * share:.1f}" y="{_HEIGHT - 8}">{name}</text>')
    line = " ".join(place(step, loss) for step, loss in points)
    parts.append(f'<polyline class="curve" points="{line}"/></svg>')
    return Markup("".join(parts))  # noqa: S704 (numbers alone)


def _means(losses: Sequence[tuple[int, float]], most: int) -> list[tuple[float, float]]:
    """Downsampled to at most this many points, by means of neighbours."""
    size = -(-len(losses) // most)
    groups = [losses[start : start + size] for start in range(0, len(losses), size)]
    return [
        (sum(step for step, _ in group) / len(group), sum(loss for _, loss in group) / len(group)) for group in groups
    ]


def sparkline(values: Sequence[float], *, title: str) -> Markup:
    """A curve without axes, for a line of text."""
    if len(values) < 2:
        return Markup("")
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    points = " ".join(
        f"{index * _SPARK_WIDTH / (len(values) - 1):.1f},{2 + (_SPARK_HEIGHT - 4) * (1 - (value - low) / span):.1f}"
        for index, value in enumerate(values)
    )
    return Markup(  # noqa: S704 (numbers, and a title that is escaped)
        f'<svg class="spark" viewBox="0 0 {_SPARK_WIDTH} {_SPARK_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<polyline class="curve" points="{points}"/></svg>'
    )


def _said(points: Sequence[VersionPoint], title: str, is_share: bool) -> str:
    """The chart as text for screen readers."""
    return f"{title}: " + ", ".join(f"{point.version} {_shown(point.value, is_share)}" for point in points)


def _shown(value: float, is_share: bool) -> str:
    return f"{value:.0%}".replace("%", "\u00a0%") if is_share else f"{value:.1f}".removesuffix(".0")


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers for an axis that fits the values: two to six, the first below all and the last above."""
    low, high = min(values), max(values)
    rough = max(high - low, abs(high) * 1e-3, 1e-6) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * (1 - 1e-9))
    # Of 0.0124 / 0.0002 little less than 62 is left.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _round_up(value: float) -> float:
    """Round up to a round number for an axis."""
    return next((limit for limit in (1, 2, 4, 6, 10, 20, 40) if value <= limit), value)
