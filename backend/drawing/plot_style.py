"""The style of all plots, and their file formats."""

from pathlib import Path
from typing import Any

from captionloop.errors import SettingsError

FORMATS = (".svg", ".png", ".pdf")
INK, MUTED, _LINE = "#1f2328", "#656d76", "#d8dee4"
DOTS_PER_INCH = 150


def plot_style(*, ink: str, muted: str, line: str) -> Any:
    """Settings for `matplotlib.rc_context`, a mapping whose type would name each setting that matplotlib has.

    Args:
        ink, muted, line: colours of the main text, the secondary text, and the grid.
    """
    return {
        "svg.fonttype": "none",
        "font.size": 10,
        "text.color": ink,
        "axes.edgecolor": line,
        "axes.labelcolor": muted,
        "xtick.color": muted,
        "ytick.color": muted,
        "grid.color": line,
        "grid.linewidth": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.major.size": 0,
    }


# Of pictures that stand for themselves, with titles.
STYLE: Any = plot_style(ink=INK, muted=MUTED, line=_LINE) | {
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}


def check_format(path: Path) -> None:
    """Raise `SettingsError` if a file of this name has no supported format."""
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(f"A plot cannot be written to {path}; expected a name that ends in {', '.join(FORMATS)}.")
