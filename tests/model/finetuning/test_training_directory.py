"""The directory of a training: what is there already is never written over, and what was begun is gone on with."""

from pathlib import Path
from typing import Any

import pytest

from captionloop.errors import BusyError, CaptionloopError, SettingsError
from captionloop.model.finetuning.training_directory import TrainingDirectory

PLAN: dict[str, Any] = {"dataset": "ab", "model": "starter-1", "settings": {"steps": 4}, "source": "starter"}


@pytest.fixture
def directory(tmp_path: Path) -> TrainingDirectory:
    return TrainingDirectory(tmp_path / "out")


@pytest.fixture
def begun(directory: TrainingDirectory) -> TrainingDirectory:
    """A training that was killed."""
    with directory.held():
        directory.begin(**PLAN)
    return directory


@pytest.mark.parametrize("resume", [False, True])
def test_a_directory_that_is_not_there_is_fine(directory: TrainingDirectory, resume: bool) -> None:
    directory.check(resume=resume)


@pytest.mark.parametrize("resume", [False, True])
def test_a_directory_with_something_else_in_it_is_refused(directory: TrainingDirectory, resume: bool) -> None:
    directory.path.mkdir()
    (directory.path / "thesis.tex").touch()
    with pytest.raises(CaptionloopError, match="not empty"):
        directory.check(resume=resume)


def test_what_was_begun_is_gone_on_with_if_somebody_says_so(begun: TrainingDirectory) -> None:
    begun.check(resume=True)
    with pytest.raises(CaptionloopError, match="--resume"):
        begun.check(resume=False)


def test_what_ended_before_it_began_is_in_nobodys_way(directory: TrainingDirectory) -> None:
    with directory.held():
        pass
    directory.check(resume=False)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"dataset": "cd"}, r"another dataset \(ab, now cd\)"),
        ({"model": "starter-2"}, "another model"),
        ({"settings": {"steps": 5}}, r"another setting steps \(4, now 5\)"),
    ],
)
def test_something_else_is_not_gone_on_with(begun: TrainingDirectory, other: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        begun.begin(**{**PLAN, **other})


def test_one_training_writes_at_a_time(directory: TrainingDirectory) -> None:
    with directory.held(), pytest.raises(BusyError), TrainingDirectory(directory.path).held():
        pass


def test_a_kill_while_the_model_is_moved_loses_nothing(
    begun: TrainingDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun.model.mkdir()
    for name in ("captionloop.json", "config.json", "model.safetensors"):
        (begun.model / name).write_text(name)
    replace = Path.replace
    moved: list[str] = []

    def replace_two(self: Path, target: Path) -> Path:
        if self.parent == begun.model:
            if len(moved) == 2:
                raise KeyboardInterrupt
            moved.append(self.name)
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace_two)
        with pytest.raises(KeyboardInterrupt):
            begun.finish()
    assert "config.json" not in moved
    assert (begun.is_whole, begun.is_finished) == (True, False)

    TrainingDirectory(begun.path).finish()

    assert begun.is_finished
    assert sorted(path.name for path in begun.path.iterdir()) == [
        "captionloop.json",
        "config.json",
        "model.safetensors",
    ]


def test_what_a_killed_one_had_half_written_is_no_part_of_the_model(begun: TrainingDirectory) -> None:
    (begun.model / "datasets").mkdir(parents=True)
    for name in ("config.json", ".comparison.json.4i_yak0i", "datasets/.5f1c.jsonl.x2", "datasets/5f1c.jsonl"):
        (begun.model / name).touch()

    with begun.held():
        left = {path.relative_to(begun.model).as_posix() for path in begun.model.rglob("*")}

    assert left == {"config.json", "datasets", "datasets/5f1c.jsonl"}


def test_a_kill_while_the_state_is_removed_loses_nothing(begun: TrainingDirectory) -> None:
    for name in ("captionloop.json", "config.json"):
        (begun.path / name).write_text(name)
    begun.check(resume=True)
    assert begun.is_whole

    begun.finish()

    assert begun.is_finished
