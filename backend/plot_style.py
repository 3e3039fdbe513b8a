"""How our drawings look, whatever they are drawn for: thin lines, few marks, texts that stay texts."""

from typing import Any


def plot_style(*, ink: str, muted: str, line: str) -> Any:
    """Settings for `matplotlib.rc_context`, a mapping whose type would name each setting that matplotlib has.

    Args:
        ink, muted, line: colours of what is read first, of what is read next, and of the grid.
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
