"""A fast measurement of the machine."""

import pytest

from captionloop.backend.bench import machine


def multiply_small_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rates that are measured then are lower ones, for matrices that would be too small for a figure."""
    for name, small in {"_SIDE": 256, "_GPU_SIDE": 256, "_COPIED_BYTES": 2**20}.items():
        monkeypatch.setattr(machine, name, small)
