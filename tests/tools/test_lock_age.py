"""The lock says of when its versions are, and CI fails when that is long ago."""

import datetime
from pathlib import Path

import pytest
from tools import lock_age

_LOCK = "# Versions of 2026-12-01\n"


def _at_the_end_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, days: int) -> None:
    made = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=days)
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"# Versions of {made}\n")
    monkeypatch.setattr(lock_age, "_LOCK", lock)


def test_the_lock_says_of_when_its_versions_are() -> None:
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text(encoding="utf-8")
    assert lock_age.age(lock, datetime.date(2126, 1, 1)) > 0


def test_its_age_is_counted_in_days() -> None:
    assert lock_age.age(_LOCK, datetime.date(2027, 1, 1)) == 31


def test_a_lock_without_a_date_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="run `make lock ARGS=--upgrade`"):
        lock_age.age("absl-py==2.5.1", datetime.date(2027, 1, 1))


def test_90_days_are_the_most(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _at_the_end_of(monkeypatch, tmp_path, days=90)
    lock_age.main()
    assert "is 90 days old" in capsys.readouterr().out

    _at_the_end_of(monkeypatch, tmp_path, days=91)
    with pytest.raises(SystemExit, match="make lock ARGS=--upgrade"):
        lock_age.main()
