"""A look at the machine that is over at once."""

import pytest

from captionloop.backend.bench import machine


def multiply_small_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rates that are measured then are lower ones, for matrices that would be too small for a figure."""
    monkeypatch.setattr(machine, "_SIDES", {"cpu": 256, "cuda": 256})
    monkeypatch.setattr(machine, "_COPIED_BYTES", 2**20)
