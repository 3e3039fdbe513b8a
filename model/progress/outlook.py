"""What more corrections are likely to bring, read off what earlier ones brought.

Each version was trained on so many corrections, and of its suggestions people left so many unchanged. The share that is
changed falls about as a power of the corrections (Hestness et al., arXiv 1712.00409): changed = a * corrections^-b. A
few versions with a few dozen judged captions each tell little about a and b, so the fit is repeated on counts drawn
anew, and where these disagree much the answer is that nobody can tell.
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

MORE = 50  # corrections that the outlook is about
LEAST_VERSIONS = 3
_WIDEST = 0.2  # of the interval of the gain, beyond which it says nothing
_DRAWS = 1000

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stand:
    """A version: the corrections it was trained on, and of its judged suggestions those that people left unchanged."""

    trained_on: int
    judged: int
    unchanged: int


@dataclass(frozen=True)
class Outlook:
    """What the next corrections are likely to bring.

    Args:
        more: corrections.
        gain: by how much the share of unchanged captions is likely to rise, with its 95 % interval; None where nobody
            can tell.
        sentence: for people.
    """

    more: int
    gain: Estimate | None
    sentence: str


def stands(versions: Sequence[VersionInfo], figures: Sequence[VersionFigures]) -> list[Stand]:
    """The versions of a project that were trained and whose suggestions people have judged.

    Args:
        versions: of the project.
        figures: of the same, as far as there are any.
    """
    trained = {info.version: info.corrections for info in versions if info.parent is not None}
    return [
        Stand(trained[found.version], found.corrected, round(found.kept.value * found.corrected))
        for found in figures
        if found.kept is not None and trained.get(found.version)
    ]


def outlook(found: Sequence[Stand], *, corrections: int, more: int = MORE, seed: int = 0) -> Outlook:
    """Fit the learning curve and go on along it.

    Args:
        found: versions to learn from.
        corrections: how many there are now, of which a fifth is held out of training (`split.SHARE`).
        more: how many are to come.
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
    """Shares changed as they might as well have been found, (draws, versions): the posterior of each under Jeffreys'
    prior, which stays away from 0 and 1, where a power has no logarithm."""
    rng = np.random.default_rng(seed)
    changed = np.asarray([stand.judged - stand.unchanged for stand in found], dtype=np.float64)
    unchanged = np.asarray([stand.unchanged for stand in found], dtype=np.float64)
    return rng.beta(changed + 0.5, unchanged + 0.5, size=(_DRAWS, len(found)))


def _unchanged(found: Sequence[Stand], drawn: Numbers, trained_on: float) -> Numbers:
    """The share of unchanged captions at so many corrections, (draws,), of a line fitted on log-log paper.

    Each version weighs as much as its log share is sure: judged * (1 - p) / p is one over its variance.
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
