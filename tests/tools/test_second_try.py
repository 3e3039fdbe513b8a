"""A test that lost a race on a busy machine gets a second try alone, by name; a fault stays a failure."""

import subprocess
import sys
from pathlib import Path

_FAILS_ONCE = """
from pathlib import Path

def test_first(): pass

def test_races():
    tried = Path("tried")
    lost, _ = not tried.exists(), tried.touch()
    assert not lost
"""
_ALWAYS_FAILS = "def test_wrong(): assert 1 == 2\n"
_TOOLS = str(Path(__file__).parents[2])


def _run(module: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": _TOOLS}, capture_output=True, text=True, check=False)


def _second_try(folder: Path, **files: str) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    _run("pytest", folder)
    return _run("tools.second_try", folder)


def test_what_passes_alone_is_named_and_no_failure(tmp_path: Path) -> None:
    again = _second_try(tmp_path, test_race=_FAILS_ONCE)
    assert again.returncode == 0
    assert "They passed alone" in again.stdout
    assert "test_race.py::test_races" in again.stdout
    assert "2 passed" in again.stdout


def test_what_fails_alone_as_well_is_a_failure(tmp_path: Path) -> None:
    again = _second_try(tmp_path, test_race=_FAILS_ONCE, test_fault=_ALWAYS_FAILS)
    assert again.returncode == 1
    assert "They passed alone" not in again.stdout


def test_many_failures_are_no_accident(tmp_path: Path) -> None:
    again = _second_try(
        tmp_path, **{f"test_race{number}": _FAILS_ONCE.replace("tried", f"tried{number}") for number in range(4)}
    )
    assert again.returncode == 1
    assert "4 tests have failed" in again.stderr


def test_there_is_none_where_no_test_ran(tmp_path: Path) -> None:
    again = _second_try(tmp_path)
    assert again.returncode == 1
    assert "no tests have failed" in again.stderr
