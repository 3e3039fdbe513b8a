"""Progress in notebooks and terminals, by tqdm."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from captionloop.errors import RunCancelled

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that a notebook without ipywidgets gets a bar of text
    from tqdm.auto import tqdm

if TYPE_CHECKING:
    from captionloop.model.training.loop import TrainingProgress


class Bar:
    """A bar that is told how far it is, and not by how much it moved."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def to(self, done: float, total: float | None = None) -> None:
        """Move it.

        Args:
            done: of `total`.
            total: None: as at the beginning.
        """
        if total is not None:
            self._shown.total = total
        self._shown.update(done - self._shown.n)

    def note(self, **figures: str) -> None:
        """Show figures behind it."""
        self._shown.set_postfix(figures, refresh=False)

    def close(self) -> None:
        """End it; what stays on the screen is its last state."""
        self._shown.close()


def open_bar(title: str, *, total: float, unit: str = "", leave: bool = False) -> Bar:
    """A new bar, which somebody closes."""
    form = None if unit else "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"
    return Bar(tqdm(desc=title, total=total, unit=unit, leave=leave, bar_format=form))


@contextmanager
def bar(title: str, *, total: float) -> Iterator[Bar]:
    """A bar for a block, after which it is gone."""
    opened = open_bar(title, total=total)
    try:
        yield opened
    finally:
        opened.close()


class TrainingBars:
    """A bar for each stage of a fine-tuning; that of the training has the loss, and stays.

    Args:
        stop: is set when somebody wants it to stop.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._stage = ""
        self._bar: Bar | None = None

    def __call__(self, stage: str, share: float = 0.0) -> None:
        if self._stop.is_set():
            raise RunCancelled("Stopped.")
        self._of(stage, total=1.0).to(share)

    def training(self, progress: TrainingProgress) -> None:
        """A step was made."""
        shown = self._of("training", total=progress.steps, unit="step", leave=True)
        shown.note(loss=f"{progress.loss:.3f}")
        shown.to(progress.step)

    def is_cancelled(self) -> bool:
        return self._stop.is_set()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _of(self, stage: str, *, total: float, unit: str = "", leave: bool = False) -> Bar:
        if self._bar is None or stage != self._stage:
            self.close()
            self._stage, self._bar = stage, open_bar(stage.capitalize(), total=total, unit=unit, leave=leave)
        return self._bar
