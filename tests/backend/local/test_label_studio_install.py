import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.package_index import PackageIndex, running_index, write_wheel

from captionloop.backend.local import label_studio_install, uv
from captionloop.backend.local.interpreters import Interpreter
from captionloop.errors import ServiceError, SettingsError
from captionloop.settings import LABEL_STUDIO_VERSION

_NAME = "label-studio"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A package that brings the command `label-studio` and nothing else."""
    return str(write_wheel(tmp_path_factory.mktemp("wheel"), _NAME, LABEL_STUDIO_VERSION, command=_NAME))


def _install(cache: Path, requirement: str | None = None, said: list[str] | None = None) -> Path:
    return label_studio_install.install(
        cache, progress=(said if said is not None else []).append, requirement=requirement
    )


@pytest.fixture(scope="module")
def installed(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    assert not label_studio_install.is_installed(cache)
    _install(cache, tiny)
    return cache


@pytest.mark.slow
class TestInstalling:
    def test_label_studio_gets_a_virtual_environment_of_its_own(self, installed: Path, tiny: str) -> None:
        command = _install(installed, tiny)
        assert subprocess.check_output([command], text=True) == f"{LABEL_STUDIO_VERSION}\n"
        assert label_studio_install.is_installed(installed)

    def test_the_second_time_there_is_nothing_to_do(self, installed: Path) -> None:
        command = _install(installed, "no-such-package-because-nobody-is-asked")
        assert command.exists()

    def test_an_environment_that_a_crash_left_half_made_is_made_anew(self, installed: Path, tiny: str) -> None:
        venv = _install(installed, tiny).parent.parent
        (venv / "complete.json").unlink()
        (venv / "half").touch()
        assert not label_studio_install.is_installed(installed)
        assert _install(installed, tiny).exists()
        assert not (venv / "half").exists()

    def test_an_environment_whose_python_has_gone_is_made_anew(self, installed: Path, tiny: str) -> None:
        python = _install(installed, tiny).parent / "python"
        python.unlink()
        python.symlink_to("/nowhere/python")
        assert not label_studio_install.is_installed(installed)
        assert _install(installed, tiny).exists()
        assert python.exists()

    def test_two_at_once_install_it_once(self, tmp_path: Path, tiny: str) -> None:
        said: list[list[str]] = [[], []]
        threads = [threading.Thread(target=_install, args=(tmp_path, tiny, lines)) for lines in said]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(any("another Captionloop" in line for line in lines) for lines in said) == 1
        assert label_studio_install.is_installed(tmp_path)

    def test_when_it_fails_the_log_and_the_way_out_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(ServiceError) as caught:
            _install(tmp_path, str(tmp_path / "missing-1.0-py3-none-any.whl"))
        assert "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY" in str(caught.value)
        assert f"label-studio-{LABEL_STUDIO_VERSION}" in str(caught.value)
        assert not label_studio_install.is_installed(tmp_path)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """The index of a site, of which only pip's configuration tells."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    with running_index(tmp_path / "index") as index:
        index.add(_NAME, LABEL_STUDIO_VERSION, command=_NAME)
        configuration = tmp_path / "pip.conf"
        configuration.write_text(f"[global]\nindex-url = {index.url}\nextra-index-url =\nfind-links =\nconstraint =\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
        yield index


def _gone(*_: object) -> None:
    return None


@pytest.mark.slow
class TestAtASiteWithAnIndexOfItsOwn:
    def test_uv_asks_the_index_that_pip_is_set_up_with(self, index: PackageIndex, tmp_path: Path) -> None:
        command = _install(tmp_path / "cache")
        assert subprocess.check_output([command], text=True) == f"{LABEL_STUDIO_VERSION}\n"
        assert index.clients == {"uv"}

    def test_where_pip_goes_by_what_uv_has_no_word_for_pip_installs(
        self, index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PIP_PREFER_BINARY", "1")  # of no consequence
        monkeypatch.setenv("PIP_ONLY_BINARY", ":all:")
        _install(tmp_path / "cache")
        assert index.clients == {"pip"}

    def test_where_there_is_no_uv_and_the_index_has_none_pip_installs(
        self, index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uv, "ours", _gone)
        _install(tmp_path / "cache")
        assert index.clients == {"pip"}

    def test_where_uv_fails_pip_installs(
        self, index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = tmp_path / "uv-that-fails"
        broken.write_text("#!/bin/sh\nexit 2\n")
        broken.chmod(0o755)
        monkeypatch.setattr(uv, "ours", lambda: broken)
        said: list[str] = []
        _install(tmp_path / "cache", said=said)
        assert "uv did not do it, pip tries" in said
        assert index.clients == {"pip"}


@pytest.fixture
def not_suiting(index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    """Our Python, taken for one of 3.14, and a Label Studio that pins what does not work there."""
    index.add(_NAME, f"{LABEL_STUDIO_VERSION}.post1", requires=("opencv-python-headless<4.13",), command=_NAME)
    for version in ("4.12.0", "4.14.0", "5.0.0"):
        index.add("opencv-python-headless", version)
    python = Interpreter(Path(sys.executable), (3, 14))
    monkeypatch.setattr(label_studio_install, "interpreter", lambda named: python)
    monkeypatch.setattr(label_studio_install, "one_that_suits_the_pins", _gone)
    return python


@pytest.mark.slow
class TestOnAPythonThatDoesNotSuitThePins:
    def test_uv_installs_another_opencv(self, not_suiting: Interpreter, tmp_path: Path) -> None:
        command = _install(tmp_path / "cache", _NAME)
        assert command.parent.parent.name == f"label-studio-{LABEL_STUDIO_VERSION}-py3.14"
        assert _version(command, "opencv-python-headless") == "4.14.0"

    def test_without_uv_another_python_is_taken(
        self, not_suiting: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uv, "ours", _gone)
        monkeypatch.setattr(
            label_studio_install, "one_that_suits_the_pins", lambda: Interpreter(Path(sys.executable), (3, 13))
        )
        assert _version(_install(tmp_path / "cache", _NAME), "opencv-python-headless") == "4.12.0"

    def test_without_either_one_sentence_says_what_to_do(
        self, not_suiting: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uv, "ours", _gone)
        with pytest.raises(ServiceError, match=r"Python 3\.14.* Name a Python .* in CAPTIONLOOP_LABEL_STUDIO_PYTHON"):
            _install(tmp_path / "cache", _NAME)


def _version(command: Path, package: str) -> str:
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.check_output([command.with_name("python"), "-c", code], text=True).strip()


def _python(path: Path, prints: str) -> Path:
    path.write_text(f"#!/bin/sh\necho {prints}\n")
    path.chmod(0o755)
    return path


class TestANamedPython:
    def test_each_version_has_an_environment_of_its_own(self, tmp_path: Path) -> None:
        named = str(_python(tmp_path / "other-python", "3 12"))
        assert not label_studio_install.is_installed(tmp_path, python=named)
        venv = tmp_path / f"label-studio-{LABEL_STUDIO_VERSION}-py3.12"
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").touch()
        (venv / "complete.json").write_text(f'{{"label_studio": "{LABEL_STUDIO_VERSION}"}}')
        assert label_studio_install.is_installed(tmp_path, python=named)

    @pytest.mark.parametrize(
        "write",
        [
            lambda path: None,
            lambda path: _python(path, "hello"),
            lambda path: _python(path, "3 9"),
            lambda path: path.mkdir(),
        ],
        ids=["missing", "no Python", "too old", "a folder"],
    )
    def test_an_interpreter_that_will_not_do_is_refused_with_what_is_needed(
        self, tmp_path: Path, write: Callable[[Path], object]
    ) -> None:
        write(tmp_path / "other-python")
        with pytest.raises(
            SettingsError, match=r"CAPTIONLOOP_LABEL_STUDIO_PYTHON is .* must be a Python, 3\.10 or newer"
        ):
            label_studio_install.is_installed(tmp_path, python=str(tmp_path / "other-python"))
