import random
from datetime import timedelta
from pathlib import Path

import pytest

from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import utc_now
from captionloop.model.metrics.estimate import wilson
from captionloop.model.progress.loop_figures import VersionFigures
from captionloop.model.progress.outlook import Stand, outlook, stands
from captionloop.model.versions.store import VersionInfo


def along(law: float, *, judged: int, seed: int = 0, at: tuple[int, ...] = (20, 60, 120, 200)) -> list[Stand]:
    """Versions whose share of changed captions is 2 * corrections^-law, found on so many judged captions."""
    rng = random.Random(seed)
    return [
        Stand(corrections, judged, sum(rng.random() > min(1.0, 2 * corrections**-law) for _ in range(judged)))
        for corrections in at
    ]


def test_a_learning_curve_is_gone_on_along() -> None:
    found = outlook(along(0.5, judged=2000), corrections=200)

    now, then = 1 - 2 * 160**-0.5, 1 - 2 * 200**-0.5  # a fifth is held out
    assert found.gain is not None
    assert found.gain.low <= then - now <= found.gain.high
    assert found.sentence.startswith("Another 50 corrections are likely to leave 2 more of 100 captions unchanged")


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_has_the_truth_in_it_with_a_few_hundred_captions(seed: int) -> None:
    found = outlook(along(0.3, judged=300, seed=seed), corrections=250)

    truth = 2 * 200**-0.3 - 2 * 240**-0.3
    assert found.gain is not None
    assert found.gain.low - 0.01 <= truth <= found.gain.high + 0.01


@pytest.mark.parametrize("at", [(), (20,), (20, 60), (20, 20, 20, 60)])
def test_two_versions_tell_nothing(at: tuple[int, ...]) -> None:
    found = outlook(along(0.5, judged=500, at=at), corrections=60)

    assert found.gain is None
    assert "cannot be told yet: it takes 3 versions" in found.sentence
    assert found.sentence.endswith(f"there are {len(set(at))}.")


def test_a_handful_of_judged_captions_tells_nothing() -> None:
    few = [Stand(20, 4, 1), Stand(40, 3, 1), Stand(60, 3, 2)]

    found = outlook(few, corrections=60, more=200)

    assert found.gain is None
    assert "will bring cannot be told: between" in found.sentence


def test_a_curve_that_has_flattened_promises_nothing() -> None:
    flat = [Stand(corrections, 400, 300) for corrections in (50, 100, 200, 400)]

    found = outlook(flat, corrections=400)

    assert found.gain is not None
    assert found.gain.low <= 0 <= found.gain.high
    assert found.sentence.startswith("Another 50 corrections may bring nothing: between")


def test_captions_that_are_all_unchanged_leave_nothing_to_gain() -> None:
    found = outlook([Stand(corrections, 300, 300) for corrections in (50, 100, 200)], corrections=200)

    assert found.gain is not None
    assert abs(found.gain.value) < 0.01


def test_the_same_figures_give_the_same_outlook() -> None:
    assert outlook(along(0.4, judged=80), corrections=200) == outlook(along(0.4, judged=80), corrections=200)


def version(name: str, parent: str | None, corrections: int) -> VersionInfo:
    return VersionInfo(
        version=name,
        parent=parent,
        state="candidate",
        created_at=utc_now() - timedelta(days=1),
        snapshot=None,
        corrections=corrections,
        metrics={},
        path=Path(name),
        reason="",
        generation=GenerationSettings(),
        pinned=False,
        deleted_at=None,
    )


def figures(name: str, judged: int, unchanged: int) -> VersionFigures:
    kept = wilson(unchanged, judged) if judged else None
    return VersionFigures(name, utc_now(), judged, judged, kept, None, None)


def test_only_versions_that_were_trained_and_judged_stand_on_the_curve() -> None:
    versions = [version("base", None, 0), version("v1", "base", 20), version("v2", "v1", 60), version("v3", "v1", 90)]

    found = stands(versions, [figures("base", 50, 0), figures("v1", 40, 10), figures("v2", 0, 0)])

    assert found == [Stand(20, 40, 10)]
