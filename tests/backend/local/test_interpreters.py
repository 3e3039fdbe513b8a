from pathlib import Path

import pytest

from captionloop.backend.local.interpreters import Interpreter, interpreter, one_that_suits_the_pins


def _python(path: Path, version: str) -> Path:
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("minor", "has"), [(10, True), (13, True), (14, False), (15, False)])
def test_from_python_3_14_on_a_pin_of_label_studio_has_no_wheel(minor: int, has: bool) -> None:
    assert Interpreter(Path(), (3, minor)).suits_the_pins is has


def test_a_command_is_looked_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _python(tmp_path / "python3.12", "3 12")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert interpreter("python3.12") == Interpreter(path, (3, 12))


def test_the_home_directory_may_be_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _python(tmp_path / "python", "3 13")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert interpreter("~/python") == Interpreter(path, (3, 13))


class TestAnother:
    def test_the_newest_that_suits_the_pins_is_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        for minor in (14, 12, 11):
            _python(tmp_path / f"python3.{minor}", f"3 {minor}")
        assert one_that_suits_the_pins() == Interpreter(tmp_path / "python3.12", (3, 12))

    def test_a_program_that_only_has_the_name_is_no_interpreter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        _python(tmp_path / "python3.13", "3 14")
        (tmp_path / "python3.12").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "python3.12").chmod(0o755)
        assert one_that_suits_the_pins() is None
