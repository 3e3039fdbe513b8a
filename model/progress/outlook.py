"""A forecast of what further corrections will bring, by extrapolating the learning curve.

The share of captions that people change falls roughly as a power of the number of corrections (Hestness et al., arXiv
1712.00409): changed = a * corrections^-b. It is fitted to all versions. A few versions with a few dozen judged captions
determine a and b poorly, so the fit is repeated on draws from the posterior of the counts; if the interval is wide, no
forecast is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from captionloop.model.dataset.split import SHARE
from captionloop.model.metrics.estimate import Estimate
from captionloop.model.progress.loop_figures import VersionFigures
from captionloop.model.versions.store import VersionInfo

MORE = 50  # further corrections to forecast
LEAST_VERSIONS = 3
_WIDEST = 0.2  # largest width of the interval of the gain; beyond it no forecast is given
_DRAWS = 1000

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stand:
    """A version: number of corrections it was trained on, and of judged and unchanged suggestions."""

    trained_on: int
    judged: int
    unchanged: int


@dataclass(frozen=True)
class Outlook:
    """The forecast.

    Args:
        more: number of further corrections.
        gain: rise of the share of unchanged captions, with its 95 % interval; None if the interval is too wide.
        sentence: for people.
    """

    more: int
    gain: Estimate | None
    sentence: str


def stands(versions: Sequence[VersionInfo], figures: Sequence[VersionFigures]) -> list[Stand]:
    """The fine-tuned versions of a project with judged suggestions.

    Args:
        versions: of the project.
        figures: of those that have any.
    """
    trained = {info.version: info.corrections for info in versions if info.parent is not None}
    return [
        Stand(trained[found.version], found.corrected, round(found.kept.value * found.corrected))
        for found in figures
        if found.kept is not None and trained.get(found.version)
    ]


def outlook(found: Sequence[Stand], *, corrections: int, more: int = MORE, seed: int = 0) -> Outlook:
    """Fit the learning curve and extrapolate it.

    Args:
        found: versions to fit to.
        corrections: present number, of which a fifth is held out of training (`split.SHARE`).
        more: number of further corrections.
        seed: of the draws.
    """
    different = len({stand.trained_on for stand in found})
    if different < LEAST_VERSIONS or not corrections:
        return Outlook(
            more,
            None,
            f"What another {more} corrections will bring cannot be told yet: it takes {LEAST_VERSIONS} versions, "
            f"trained on different numbers of corrections, whose captions people have judged; there are {different}.",
        )
    drawn = _draws(found, seed)
    now, then = (_unchanged(found, drawn, (1 - SHARE) * at) for at in (corrections, corrections + more))
    low, high = np.quantile(then - now, [0.025, 0.975]).tolist()
    gain = Estimate(float(np.median(then - now)), low, high)
    likely = f"between {_of_100(low)} and {_of_100(high)} of 100 captions more"
    if high - low > _WIDEST:
        return Outlook(
            more, None, f"What another {more} corrections will bring cannot be told: {likely} may need no change."
        )
    if low <= 0:
        return Outlook(
            more, gain, f"Another {more} corrections may bring nothing: {likely} are likely to need no change."
        )
    return Outlook(
        more,
        gain,
        f"Another {more} corrections are likely to leave {_of_100(gain.value)} more of 100 captions unchanged "
        f"(95 % interval {_of_100(low)} to {_of_100(high)}); about {_of_100(float(np.median(now)))} are now.",
    )


def _draws(found: Sequence[Stand], seed: int) -> Numbers:
    """Draws of the changed shares, (draws, versions): the posterior of each under Jeffreys' prior, which excludes 0 and
    1, where the log-log fit is undefined."""
    rng = np.random.default_rng(seed)
    changed = np.asarray([stand.judged - stand.unchanged for stand in found], dtype=np.float64)
    unchanged = np.asarray([stand.unchanged for stand in found], dtype=np.float64)
    return rng.beta(changed + 0.5, unchanged + 0.5, size=(_DRAWS, len(found)))


def _unchanged(found: Sequence[Stand], drawn: Numbers, trained_on: float) -> Numbers:
    """The share of unchanged captions at a number of corrections, (draws,), from a weighted log-log fit.

    Weights are the inverse variance of log p, with p the changed share: judged * p / (1 - p).
    """
    places = np.log([stand.trained_on for stand in found])
    logs = np.log(drawn)
    means = np.asarray([(s.judged - s.unchanged + 0.5) / (s.judged + 1) for s in found])
    weights = np.asarray([stand.judged for stand in found]) * means / (1 - means)
    weights = weights / weights.sum()
    middle, height = weights @ places, logs @ weights
    slopes = ((logs - height[:, None]) * weights * (places - middle)).sum(axis=1) / (weights @ (places - middle) ** 2)
    changed: Numbers = np.exp(height + slopes * (np.log(trained_on) - middle))
    return 1 - np.minimum(changed, 1)


def _of_100(share: float) -> str:
    return f"{100 * share:.0f}".replace("-0", "0")
