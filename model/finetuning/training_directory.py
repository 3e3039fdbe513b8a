"""The output directory of `captionloop train`: the state of training while it runs, then the model.

    OUT/.training/lock               held while somebody trains
    OUT/.training/plan.json          what is trained on what
    OUT/.training/state.safetensors  weights, optimiser and random numbers, replaced as a whole
    OUT/.training/model/             the model while it is put together; moved to OUT once it is whole
    OUT/.training/whole              says that it is

After a kill at any moment `--resume` continues from what is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from captionloop.errors import CaptionloopError, SettingsError
from captionloop.home import alone, read_json, storing, write_atomically, write_json
from captionloop.model.versions.manifest import MANIFEST

REPORT = "report.html"
_STATE, _LAST = ".training", "config.json"  # without a config.json nobody takes the directory for a model


class TrainingDirectory:
    """Where one training writes.

    Args:
        path: of the directory; made when needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state = path / _STATE

    @property
    def model(self) -> Path:
        """The model's files while it is put together."""
        return self._state / "model"

    @property
    def state(self) -> Path:
        """The file of the training's state."""
        return self._state / "state.safetensors"

    @property
    def is_finished(self) -> bool:
        """Whether a model lies there, and nothing of its training any more."""
        return (self.path / MANIFEST).is_file() and not self._state.exists()

    @property
    def is_whole(self) -> bool:
        """Whether all of the model is there, and only has to be moved."""
        return (self._state / "whole").exists() or (self.path / _LAST).is_file()

    def check(self, *, resume: bool) -> None:
        """Whether a training may write here.

        Args:
            resume: whether to continue what is there; with nothing there, it begins.

        Raises:
            CaptionloopError: something else is there, or a training that is not to be resumed.
        """
        if not self.path.exists() or (self.path.is_dir() and not self._has_more_than_a_lock()):
            return
        if not self._state.is_dir() and not (resume and self.is_finished):
            raise CaptionloopError(f"{self.path} is there already and not empty; name another directory with --out.")
        if not resume:
            raise CaptionloopError(
                f"{self.path} has a training that is not finished: go on with --resume, delete it, or name another "
                "directory with --out."
            )

    def _has_more_than_a_lock(self) -> bool:
        return any(path != self._state for path in self.path.iterdir()) or bool(self.plan()) or self.is_whole

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other trainings out for the time of a block.

        Raises:
            BusyError: there is one at work.
            StorageError: nothing can be written there.
        """
        with storing(self.path):
            self._state.mkdir(parents=True, exist_ok=True)
        busy = f"Another training writes to {self.path} now; wait for it, or name another."
        with alone(self._state / "lock", busy=busy):
            self._remove_half_written()
            yield

    def _remove_half_written(self) -> None:
        """What `write_atomically` had not finished in the model when it was killed."""
        for path in list(self.model.rglob(".*")):
            path.unlink()

    def plan(self) -> dict[str, Any]:
        """What was begun; empty where nothing was.

        Raises:
            CaptionloopError: its file is damaged.
        """
        path = self._state / "plan.json"
        try:
            plan = read_json(path)
            if not isinstance(plan.get("settings", {}), dict):
                raise ValueError("has settings that are no object")
        except (OSError, ValueError) as error:
            raise CaptionloopError(f"{path} {error}. Delete {self.path}, and train again.") from error
        return plan

    def begin(self, dataset: str, model: str, settings: Mapping[str, Any], *, source: str) -> None:
        """Write down what is trained on what; where something was begun it has to be the same.

        Args:
            dataset: the hash of the snapshot.
            model: the name of the model that is trained further.
            source: where that was read.

        Raises:
            SettingsError: it is something else.
        """
        plan = {"dataset": dataset, "model": model, "source": source, "settings": dict(settings)}
        before = self.plan() or plan
        for name, then, now in _compared(before, plan):
            if then != now:
                raise SettingsError(
                    f"The training in {self.path} was begun with another {name} ({then}, now {now}). Give the same "
                    "again, or name another directory with --out."
                )
        write_json(self._state / "plan.json", plan)

    def finish(self) -> None:
        """Move the complete model to its place. After a kill, call it again."""
        with storing(self.path):
            write_atomically(self._state / "whole", b"")
            files = list(self.model.iterdir()) if self.model.is_dir() else []
            for file in sorted(files, key=lambda path: path.name == _LAST):
                file.replace(self.path / file.name)
            shutil.rmtree(self._state)


def _compared(before: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in ("dataset", "model"):
        yield name, before.get(name), plan[name]
    for name, value in plan["settings"].items():
        yield f"setting {name}", before.get("settings", {}).get(name), value
