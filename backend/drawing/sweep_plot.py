"""The plot of a sweep: score against learning rate, and the courses of trials."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionloop.backend.drawing.plot_style import DOTS_PER_INCH, INK, MUTED, STYLE, check_format

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from captionloop.model.sweep.sweep_state import SweepState
    from captionloop.model.sweep.trials import Trial

# Okabe and Ito's colours, which people who are blind to red or green tell apart.
_COLOURS = {"decoder": "#0072b2", "lora": "#d55e00", "full": "#009e73"}
_MARKERS = {"cosine": "o", "linear": "^", "constant": "s", "inverse_sqrt": "D"}
_SIZE_INCHES = (10.0, 4.4)
_ROOM_FOR_LABELS = 0.16  # above and below the points, as a share of their range
_SCORE = "CIDEr-D + BLEU-4 on the validation images"


def plot_sweep(shown: "SweepState", path: Path) -> None:
    """Draw a sweep into a file, SVG, PNG or PDF by its name.

    Raises:
        SettingsError: the name says no such format.
    """
    check_format(path)
    import matplotlib as mpl  # half a second, and only a picture needs it
    from matplotlib.figure import Figure

    trials = [trial for trial in shown.trials if trial.last_score is not None and not trial.is_repeated]
    best = shown.best
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_rates(left, trials, best)
        _draw_courses(right, trials, best)
        figure.suptitle(f"Sweep {shown.sweep.name}: {_summary(shown)}", x=0.008, ha="left", fontsize=12)
        figure.legend(handles=_legend(trials), loc="outside lower center", ncols=8, frameon=False, fontsize=9)
        figure.savefig(path, dpi=DOTS_PER_INCH)


def _draw_rates(axes: "Axes", trials: "Sequence[Trial]", best: "Trial | None") -> None:
    """Score against learning rate; an unfinished trial is a hollow marker at its last score."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    for trial in trials:
        colour, marker = _COLOURS[trial.choice["way"]], _MARKERS[trial.choice["schedule"]]
        rate, finished = trial.choice["learning_rate"], trial.score is not None
        if trial.interval is not None:
            axes.plot([rate, rate], trial.interval, color=colour, linewidth=1, alpha=0.35, zorder=1)
        axes.plot(
            rate, trial.last_score or 0.0, marker=marker, markersize=7, color=colour, zorder=3 if finished else 2,
            markerfacecolor=colour if finished else "white", markeredgewidth=1.2, alpha=1 if finished else 0.7,
        )  # fmt: skip
        if trial.is_default:
            _label(axes, "default", (rate, trial.last_score or 0), below=True)
    if best is not None:
        point = (best.choice["learning_rate"], best.score or 0)
        axes.plot(*point, marker="o", markersize=15, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.3)
        _label(axes, f"best: trial {best.number}", point, below=False)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.1, y=_ROOM_FOR_LABELS)
    axes.set_xlabel("learning rate")
    axes.set_ylabel(_SCORE)
    axes.set_title("What each rate came to")


def _draw_courses(axes: "Axes", trials: "Sequence[Trial]", best: "Trial | None") -> None:
    """Validation scores of each trial; a pruned one ends in a cross."""
    for trial in trials:
        points = sorted(trial.validations.items())
        if trial.score is not None:
            points.append((100, trial.score))
        is_best = best is not None and trial.number == best.number
        axes.plot(
            *zip(*points, strict=True), color=_COLOURS[trial.choice["way"]], linewidth=2.4 if is_best else 1.2,
            alpha=1 if is_best else 0.55, zorder=3 if is_best else 2,
        )  # fmt: skip
        if trial.score is None:
            axes.plot(*points[-1], marker="x", markersize=6, color=_COLOURS[trial.choice["way"]], zorder=3)
    axes.set_xlim(0, 102)
    axes.margins(y=_ROOM_FOR_LABELS)  # both have one scale
    axes.set_xlabel("percent of the steps")
    axes.set_title("How the trials got there")


def _label(axes: "Axes", text: str, point: tuple[float, float], *, below: bool) -> None:
    offset, side = ((0, -11), "top") if below else ((0, 11), "bottom")
    axes.annotate(
        text, point, textcoords="offset points", xytext=offset, ha="center", va=side, fontsize=8.5,
        color=MUTED if below else INK, zorder=4, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def _summary(shown: "SweepState") -> str:
    best = shown.best
    counts = ", ".join(f"{count} {state}" for state, count in shown.counts.items())
    if best is None:
        return counts
    return (
        f"best is {best.choice['way']}, {best.choice['schedule']}, rate {best.choice['learning_rate']:.2g}, "
        f"score {best.score:.2f} ± {best.standard_error:.2f}  ({counts})"
    )


def _legend(trials: "Sequence[Trial]") -> list[Any]:
    """A colour for each way, a shape for each schedule, and what hollow means, as far as they occur."""
    from matplotlib.lines import Line2D

    ways = dict.fromkeys(trial.choice["way"] for trial in trials)
    schedules = dict.fromkeys(trial.choice["schedule"] for trial in trials)
    handles = [Line2D([], [], color=_COLOURS[way], linewidth=3, label=way) for way in ways]
    handles += [
        Line2D([], [], color=MUTED, marker=_MARKERS[schedule], linestyle="", label=schedule) for schedule in schedules
    ]
    if any(trial.score is None for trial in trials):
        handles.append(
            Line2D(
                [], [], color=MUTED, marker="o", markerfacecolor="white", linestyle="",
                label="not finished: its last look",
            )
        )  # fmt: skip
    return handles
