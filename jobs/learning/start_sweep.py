"""Start of a sweep: sync and snapshot once, then queue the trials."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from captionloop.errors import CheckpointError, RunError
from captionloop.home import read_json
from captionloop.jobs.context import Context
from captionloop.jobs.learning.inputs import chosen_settings, take_snapshot
from captionloop.model.database import Project, Sweep
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.dataset.split import VALIDATION_SHARE, set_aside
from captionloop.model.sweep.search_space import DEFAULT_SCHEDULES, DEFAULT_WAYS, SEARCHED, SearchSpace
from captionloop.model.training.settings import Schedule, Way
from captionloop.model.versions.store import VersionInfo

DEFAULT_TRIALS = 16
# With fewer images, scores hardly tell which settings are better.
_FEWEST_VALIDATED = 3


def start_sweep(
    context: Context,
    project: Project,
    *,
    asked_by: str,
    name: str | None = None,
    trials: int = DEFAULT_TRIALS,
    ways: Sequence[Way] = DEFAULT_WAYS,
    schedules: Sequence[Schedule] = DEFAULT_SCHEDULES,
    rates: tuple[float, float] | None = None,
    settings: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sweep:
    """Sync, take a snapshot, and queue the trials.

    The first trials are the defaults of each way, so that the table shows what the search gains.

    Args:
        name: of the sweep and the resulting settings; None: a numbered one.
        trials: how many.
        ways, schedules, rates: the search space (`SearchSpace`); with None it is around each way's default rate.
        settings: common to all trials, over the extra params of the model in Label Studio, except for what is searched.
        on_progress: called with annotations read and annotations to read.

    Raises:
        SettingsError: invalid settings, or a name that is taken.
        LabelStudioError: Label Studio does not answer.
        RunError: there are too few corrected images.
        ServiceError: Redis does not answer. The sweep is stored and starts once it does.
    """
    asked = dict(settings or {})
    SearchSpace.around_defaults(1, ways=ways, schedules=schedules, rates=rates, fixed=asked)  # fail early
    fixed = {key: value for key, value in chosen_settings(context, project, asked).items() if key not in SEARCHED}
    snapshot = take_snapshot(context, project, on_progress)
    _check_enough(snapshot)
    context.versions.ensure_champion(project.id, context.base)
    champion = context.versions.champion(project.id)
    width = _width(champion)
    space = SearchSpace.around_defaults(width, ways=ways, schedules=schedules, rates=rates, fixed=fixed)
    return context.queue.request_sweep(
        project.id,
        space,
        trials=trials,
        snapshot=snapshot.hash,
        champion=champion.version,
        first=space.defaults(width),
        asked_by=asked_by,
        name=name,
    )


def _check_enough(snapshot: Snapshot) -> None:
    train = snapshot.split().train
    validated, _ = set_aside(train, VALIDATION_SHARE, split_with=snapshot.split_with)
    if len(validated) < _FEWEST_VALIDATED:
        raise RunError(
            f"{len(train)} corrected images are there to train on, of which {len(validated)} could be "
            f"kept out to compare settings by; at least {_FEWEST_VALIDATED} are needed. Correct some more first."
        )


def _width(version: VersionInfo) -> int:
    """Hidden width of a version's decoder, from its configuration alone.

    Raises:
        CheckpointError: it has no valid configuration.
    """
    try:
        return int(read_json(version.path / "config.json")["text_config"]["hidden_size"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"Version {version.version} has no readable config.json. Roll back to another."
        ) from error
