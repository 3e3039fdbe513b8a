"""Files that several processes need, of which the first one makes them."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from captionloop.home import make_once


def test_keys_are_made_once(tmp_path: Path) -> None:
    made = made_at_once(tmp_path / "key")

    assert (len(made), sorted(path.name for path in tmp_path.iterdir())) == (1, ["key"])


def test_keys_are_made_once_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))  # as vfat does

    monkeypatch.setattr(os, "link", refuses)

    made = made_at_once(tmp_path / "key")

    assert (len(made), sorted(path.name for path in tmp_path.iterdir())) == (1, [".key.lock", "key"])
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def made_at_once(path: Path) -> set[bytes]:
    """What sixteen callers got that each would make another."""
    with ThreadPoolExecutor(16) as pool:
        return set(pool.map(lambda number: make_once(path, bytes([number]) * 1000), range(16)))
