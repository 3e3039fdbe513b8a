"""What attempts at a run keep on disk, and who writes where."""

from pathlib import Path

import pytest

from captionloop.jobs.learning.scratch import PLAN, STATE, scratch_directory

pytestmark = pytest.mark.faults


def killed(root: Path, number: int) -> Path:
    """What an attempt left that was killed."""
    directory = root / str(number)
    (directory / "version").mkdir(parents=True)
    for name in (PLAN, STATE, "version/training_log.csv", "version/model.safetensors"):
        (directory / name).write_text(f"{name} of {number}")
    return directory


def test_an_attempt_goes_on_from_what_the_one_before_it_left(tmp_path: Path) -> None:
    killed(tmp_path / "run", 1)

    with scratch_directory(tmp_path / "run", 2) as mine:
        there = sorted(path.relative_to(mine).as_posix() for path in mine.rglob("*") if path.is_file())
        assert there == [PLAN, STATE, "version/training_log.csv"]
        assert (mine / STATE).read_text() == f"{STATE} of 1"


def test_a_stale_attempt_that_goes_on_writing_changes_nothing_of_the_later_one(tmp_path: Path) -> None:
    stale = killed(tmp_path / "run", 1)
    log = (stale / "version" / "training_log.csv").open("a")  # as it is while a step is written

    with scratch_directory(tmp_path / "run", 2) as mine:
        with log:
            log.write("a step of the stale one")
        killed(tmp_path / "run", 1)
        (stale / STATE).write_text("stale")

        assert (mine / STATE).read_text() == f"{STATE} of 1"
        assert (mine / "version" / "training_log.csv").read_text() == "version/training_log.csv of 1"

    assert list(tmp_path.iterdir()) == []


def test_a_stale_attempt_that_ends_leaves_the_later_one_what_it_has(tmp_path: Path) -> None:
    with scratch_directory(tmp_path / "run", 2) as mine:
        (mine / PLAN).write_text("plan")
        with scratch_directory(tmp_path / "run", 1):
            pass

        assert (mine / PLAN).read_text() == "plan"


def test_of_several_that_were_killed_the_latest_counts(tmp_path: Path) -> None:
    for number in (2, 10):
        killed(tmp_path / "run", number)

    with scratch_directory(tmp_path / "run", 11) as mine:
        assert (mine / PLAN).read_text() == f"{PLAN} of 10"
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["11"]
