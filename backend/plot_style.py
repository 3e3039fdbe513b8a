"""How our pictures of figures look, and the files they may be written to."""

from pathlib import Path
from typing import Any

from captionloop.errors import SettingsError

FORMATS = (".svg", ".png", ".pdf")
INK, MUTED, _LINE = "#1f2328", "#656d76", "#d8dee4"
STYLE: Any = {
    "font.size": 10,
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
}
DOTS_PER_INCH = 150


def check_format(path: Path) -> None:
    """Raise `SettingsError` when no picture can be written into a file of this name."""
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(f"A plot cannot be written to {path}; expected a name that ends in {', '.join(FORMATS)}.")
