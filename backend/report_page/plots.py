"""Plots as inline SVG, with the page's CSS variables as colours, so they follow light and dark."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from captionloop.backend.drawing.plot_style import plot_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from captionloop.model.evaluation.calibration import Reliability

# matplotlib writes plain colours only; these placeholders are replaced by the page's variables in the SVG.
_INK, _MUTED, _LINE, _CURVE, _FAINT = "#000001", "#000002", "#000003", "#000004", "#000005"
_VARIABLES = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _LINE: "var(--line)",
    _CURVE: "var(--model)",
    _FAINT: "var(--model-faint)",
}
_SIZE_INCHES = (4.2, 2.2)
_STYLE = plot_style(ink=_INK, muted=_MUTED, line=_LINE) | {"axes.spines.left": False}
# Losses of single steps are noisy; the running mean over this share of all steps shows the trend.
_SMOOTHED_SHARE = 0.05


def curve(steps: Sequence[float], values: Sequence[float], *, name: str, smooth: bool = False) -> str:
    """One curve over the steps of a run.

    Args:
        steps, values: of the same length.
        name: of the curve, for screen readers.
        smooth: draw the running mean, and the values themselves faintly behind it.

    Returns:
        an `<svg>` element.
    """

    def draw(axes: "Axes") -> None:
        if smooth:
            axes.plot(steps, values, color=_FAINT, linewidth=1)
            axes.plot(steps, _running_mean(values), color=_CURVE, linewidth=1.8)
        else:
            _plot(axes, steps, values)
        axes.set_xlabel("step")
        axes.set_xlim(left=min(0, *steps), right=max(steps) or 1)

    return _svg(draw, name=name)


def reliability_diagram(found: "Reliability", *, name: str) -> str:
    """Outcome against probability; the faint line is perfect calibration. Dot size is the number of suggestions.

    Args:
        found: the figures.
        name: of the diagram, for screen readers.

    Returns:
        an `<svg>` element.
    """

    def draw(axes: "Axes") -> None:
        most = max(part.count for part in found.bins)
        chances, shares = [part.chance for part in found.bins], [part.unchanged for part in found.bins]
        axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1)
        axes.plot(chances, shares, color=_CURVE, linewidth=1.2)
        sizes = [12 + 60 * part.count / most for part in found.bins]
        axes.scatter(chances, shares, s=sizes, color=_CURVE, clip_on=False, zorder=3)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="chance", ylabel="left unchanged")

    return _svg(draw, name=name)


def _plot(axes: "Axes", steps: Sequence[float], values: Sequence[float]) -> None:
    """A line; few points get markers, since a single one would be invisible."""
    axes.plot(
        steps, values, color=_CURVE, linewidth=1.8, marker="o" if len(steps) <= 30 else "", markersize=4, clip_on=False
    )


def _running_mean(values: Sequence[float]) -> list[float]:
    span = max(1, round(len(values) * _SMOOTHED_SHARE))
    return [
        sum(window) / len(window) for end in range(1, len(values) + 1) if (window := values[max(0, end - span) : end])
    ]


def _svg(draw: "Callable[[Axes], None]", *, name: str) -> str:
    import matplotlib as mpl  # half a second, and only a report with curves needs it
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):  # ids of their own for each drawing in a page
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_page(buffer.getvalue(), name)


def _for_page(document: str, name: str) -> str:
    """The bare element, with the page's colours and no fixed size."""
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", element)
    element = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", element)
    element = element.replace("<svg", f'<svg role="img" aria-label="{name}"', 1)
    return _with_variables(element, _VARIABLES)


def _with_variables(element: str, variables: Mapping[str, str]) -> str:
    for colour, variable in variables.items():
        element = element.replace(colour, variable)
    return element
