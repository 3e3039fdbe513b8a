"""The state of a sweep: its row and its trials, read at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captionloop.model.database import Sweep
from captionloop.model.sweep.search_space import SearchSpace

if TYPE_CHECKING:
    from captionloop.model.sweep.trials import Trial


@dataclass(frozen=True)
class SweepState:
    """A sweep with its trials, read at one moment."""

    sweep: Sweep
    trials: Sequence[Trial]

    @property
    def best(self) -> Trial | None:
        from captionloop.model.sweep.trials import best_of

        return best_of(self.trials)

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials per state; one that was repeated after a kill counts once."""
        return Counter(trial.state.value for trial in self.trials if not trial.is_repeated)

    @property
    def space(self) -> SearchSpace:
        return SearchSpace.from_dict(self.sweep.space)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        sweep, best = self.sweep, self.best
        return {
            "name": sweep.name,
            "id": sweep.id,
            "state": sweep.state.value,
            "message": sweep.message,
            "snapshot": sweep.snapshot,
            "champion": sweep.champion,
            "space": sweep.space,
            "asked_for": sweep.trials,
            "counts": self.counts,
            "best": best.to_dict() if best else None,
            "trials": [trial.to_dict() for trial in self.trials],
        }
