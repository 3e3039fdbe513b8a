"""The search space of a sweep: ways, schedules and learning rates; other settings are common to all trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import PlainValidator, Strict, TypeAdapter

from captionloop.errors import SettingsError
from captionloop.model.training.settings import SCHEDULES, WAYS, FinetuneSettings, Schedule, Way, default_learning_rate
from captionloop.setting_fields import Expected, StoredSettings

SEARCHED = ("way", "schedule", "learning_rate")
# `full` is expensive and only searched on request; "linear" is close to the cosine.
DEFAULT_WAYS: tuple[Way, ...] = ("decoder", "lora")
DEFAULT_SCHEDULES: tuple[Schedule, ...] = ("cosine", "constant")
_RATES_AROUND = 4.0  # from the lowest default rate of the ways over this to the highest one times it

_Names = PlainValidator(TypeAdapter(tuple[str, ...]).validate_python)  # `_check_choices` says which
_Ways = Annotated[tuple[Way, ...], _Names, Expected("a list of ways")]
_Schedules = Annotated[tuple[Schedule, ...], _Names, Expected("a list of schedules")]
_Rates = Annotated[tuple[float, float], Strict(False), Expected("a lowest and a highest learning rate")]
_Fixed = Annotated[Mapping[str, Any], Expected("fine-tuning settings by name")]


@dataclass(frozen=True)
class SearchSpace(StoredSettings):
    """
    Args:
        ways, schedules: those to choose among.
        rates: lowest and highest peak learning rate; searched on a logarithmic scale.
        fixed: the settings that all trials share, by name.

    Raises:
        SettingsError: a value that cannot be used; the message names it and what is expected.
    """

    called = "sweep setting"

    ways: _Ways
    schedules: _Schedules
    rates: _Rates
    fixed: _Fixed = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choices("ways", self.ways, WAYS)
        _check_choices("schedules", self.schedules, SCHEDULES)
        low, high = self.rates
        if not 0 < low < high <= 1:
            raise SettingsError(
                f"The learning rates to search are {low:g} to {high:g}; expected a lower one above 0 and a higher one, "
                "at most 1."
            )
        if searched := [name for name in SEARCHED if name in self.fixed]:
            raise SettingsError(
                f"{searched[0]} is what a sweep searches, so it cannot be set for all trials; "
                "--ways, --schedules and --rates say among what."
            )
        FinetuneSettings.from_dict(self.fixed)

    @classmethod
    def around_defaults(
        cls,
        width: int,
        *,
        ways: Sequence[Way] = DEFAULT_WAYS,
        schedules: Sequence[Schedule] = DEFAULT_SCHEDULES,
        rates: tuple[float, float] | None = None,
        fixed: Mapping[str, Any] | None = None,
    ) -> SearchSpace:
        """A space around each way's default rate for a decoder of this width, unless `rates` is given."""
        known = [default_learning_rate(width, way) for way in ways if way in WAYS]
        chosen = rates or (min(known, default=1e-3) / _RATES_AROUND, max(known, default=1e-3) * _RATES_AROUND)
        return cls(tuple(ways), tuple(schedules), (chosen[0], min(chosen[1], 1.0)), dict(fixed or {}))

    def settings(self, choice: Mapping[str, Any]) -> FinetuneSettings:
        """The fine-tuning settings of a trial with these values for `SEARCHED`."""
        return FinetuneSettings.from_dict({**self.fixed, **choice})

    def defaults(self, width: int) -> list[dict[str, Any]]:
        """The default values for each way, as a baseline for the other trials."""
        low, high = self.rates
        return [
            {"way": way, "schedule": self.schedules[0], "learning_rate": rate}
            for way in self.ways
            if low <= (rate := default_learning_rate(width, way)) <= high
        ]


def _check_choices(name: str, chosen: Sequence[str], known: Iterable[str]) -> None:
    known = list(known)
    wrong = [choice for choice in chosen if choice not in known]
    if wrong or not chosen or len(set(chosen)) < len(chosen):
        raise SettingsError(
            f"The {name} to search are {', '.join(chosen) or 'none'}; expected some of {', '.join(known)}, each once."
        )
