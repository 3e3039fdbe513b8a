"""The plot of a simulation: quality against number of corrections, by strategy."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captionloop.backend.drawing.plot_style import DOTS_PER_INCH, STYLE, check_format

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from captionloop.model.metrics.estimate import Estimate
    from captionloop.model.simulation.summary import Stage

# Okabe and Ito's colours, and markers beside them for print in grey.
_LINES = (
    ("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#e69f00", "v"), ("#56b4e9", "P"),
)  # fmt: skip
_SIZE_INCHES = (10.0, 4.4)


def plot_simulation(stages: "Sequence[Stage]", path: Path, *, title: str) -> None:
    """Draw a simulation into a file, SVG, PNG or PDF by its name; bands are 95 % intervals over the seeds.

    Raises:
        SettingsError: the name says no such format.
    """
    check_format(path)
    import matplotlib as mpl  # half a second, and only a picture needs it
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        left, right = figure.subplots(1, 2)
        for number, strategy in enumerate(dict.fromkeys(stage.strategy for stage in stages)):
            course = [stage for stage in stages if stage.strategy == strategy]
            line = _LINES[number % len(_LINES)]
            _draw(left, course, [stage.unchanged for stage in course], line, most=1.0)
            _draw(right, course, [stage.cider_d for stage in course], line, most=10.0)
        left.set(title="Captions left unchanged", ylabel="share of the unseen images", ylim=(0, 1.02))
        right.set(title="CIDEr-D", ylabel="on the unseen images, 0 to 10", ylim=(0, None))
        for axes in (left, right):
            axes.set_xlabel("corrections")
        figure.suptitle(title, x=0.008, ha="left", fontsize=12)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        figure.savefig(path, dpi=DOTS_PER_INCH)


def _draw(
    axes: "Axes", course: "Sequence[Stage]", values: "Sequence[Estimate]", line: tuple[str, str], *, most: float
) -> None:
    colour, marker = line
    corrections = [stage.corrections for stage in course]
    axes.plot(
        corrections, [value.value for value in values], color=colour, marker=marker, markersize=5,
        label=course[0].strategy.replace("_", " × "),
    )  # fmt: skip
    low, high = [max(value.low, 0.0) for value in values], [min(value.high, most) for value in values]
    axes.fill_between(corrections, low, high, color=colour, alpha=0.15, linewidth=0)
