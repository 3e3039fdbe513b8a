"""The lock file of a command that must be alone."""

from pathlib import Path

import pytest

from captionloop.errors import BusyError
from captionloop.home import alone


def test_a_lock_file_keeps_others_out_until_the_block_ends(tmp_path: Path) -> None:
    with (
        alone(tmp_path / "lock", busy="Somebody is at work."),
        pytest.raises(BusyError, match=r"^Somebody is at work\.$"),
        alone(tmp_path / "lock", busy="Somebody is at work."),
    ):
        pass
    with alone(tmp_path / "lock", busy="Somebody is at work."):
        pass


def test_what_fails_within_a_lock_is_not_said_of_the_lock_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"), alone(tmp_path / "lock", busy=""):
        (tmp_path / "missing").read_bytes()
