"""`make run` installs the small PyTorch where pip or uv finds one, and leaves alone what is there.

pip is real and finds packages in a folder; they have PyTorch's name and nothing in them. PyTorch's own index, which uv
would ask, is not asked: what stands in for uv writes down how it was called.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pip
import pytest
from packaging.requirements import Requirement
from tools.small_torch import has_nvidia_driver, newest_small, requirement

_ROOT = Path(__file__).parent.parent.parent
_PROJECT = (_ROOT / "pyproject.toml").read_text(encoding="utf-8")

needs_no_gpu = pytest.mark.skipif(has_nvidia_driver(), reason="with an NVIDIA driver the ordinary PyTorch is installed")


def test_small_torch_asks_for_what_the_project_asks_for() -> None:
    assert Requirement(requirement(_PROJECT)).name == "torch"


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ("2.15.0, 2.14.1, 2.13.0+cpu, 2.13.0, 2.12.1", "2.13.0+cpu"),
        ("2.15.0+cpu, 2.14.1+cpu, 2.14.0+cpu, 2.13.0+cpu", "2.14.1+cpu"),
        ("2.13+cpu", "2.13+cpu"),
        ("2.15.0+cpu, 2.12.1+cpu", None),
        ("2.14.1, 2.14.0+cu130, 2.13.0", None),
        ("", None),
    ],
)
def test_the_newest_small_one_within_the_range_is_taken(versions: str, found: str | None) -> None:
    assert newest_small(f"torch (2.15.0)\nAvailable versions: {versions}\n", "torch>=2.13,<2.15") == found


@pytest.mark.parametrize(("wanted", "found"), [("2.14.0", "2.14.0+cpu"), ("2.14.1", None), ("2.14", None)])
def test_of_a_version_that_is_named_no_other_is_taken(wanted: str, found: str | None) -> None:
    assert newest_small("2.15.0, 2.14.1, 2.14.0+cpu, 2.13.0+cpu", f"torch=={wanted}") == found


def test_the_readmes_line_installs_what_the_project_asks_for() -> None:
    line = f"uv pip install --torch-backend cpu '{requirement(_PROJECT)}'"
    assert line in (_ROOT / "README.md").read_text(encoding="utf-8")


def _wheel(directory: Path, version: str) -> None:
    directory.mkdir(exist_ok=True)
    about = f"torch-{version}.dist-info"
    with zipfile.ZipFile(directory / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("torch/__init__.py", f"__version__ = {version!r}\n")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Of a new virtual environment, with the pip of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "pip").symlink_to(Path(pip.__file__).parent)
    return tmp_path / "venv" / "bin" / "python"


def _run(python: Path, wheels: Path, *, uv_says: int = 1) -> tuple[str | None, str, str]:
    """The version that is there afterwards, what was said, and what uv was asked for."""
    programs = python.parent.parent.parent / "programs"
    programs.mkdir(exist_ok=True)
    asked = programs / "asked"
    asked.touch()
    (programs / "uv").write_text(f'#!/bin/sh\necho "$@" >> {asked}\nexit {uv_says}\n', encoding="utf-8")
    (programs / "uv").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment = kept | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_CONFIG_FILE": os.devnull,
    }
    done = subprocess.run(
        [python, "-m", "tools.small_torch"], cwd=_ROOT, env=environment, check=True, capture_output=True, text=True
    )
    version = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    return version.stdout.strip() or None, done.stdout + done.stderr, asked.read_text(encoding="utf-8")


@needs_no_gpu
def test_a_small_torch_that_pip_finds_is_installed_and_then_left_alone(python: Path, tmp_path: Path) -> None:
    lowest = requirement(_PROJECT).removeprefix("torch>=").partition(",")[0]
    for version in ("99.0+cpu", f"{lowest}.0+cpu", f"{lowest}.1"):
        _wheel(tmp_path / "wheels", version)

    chosen, _, asked = _run(python, tmp_path / "wheels")
    assert (chosen, asked) == (f"{lowest}.0+cpu", "")

    _wheel(tmp_path / "wheels", f"{lowest}.5+cpu")
    assert _run(python, tmp_path / "wheels")[:2] == (chosen, "")


@needs_no_gpu
def test_uv_is_asked_where_pip_finds_no_small_torch(python: Path, tmp_path: Path) -> None:
    _wheel(tmp_path / "wheels", "99.0")
    _, said, asked = _run(python, tmp_path / "wheels", uv_says=0)
    assert f"pip install --python {python} --torch-backend cpu {requirement(_PROJECT)}" in asked
    assert "5 GB" not in said


@needs_no_gpu
def test_without_a_small_torch_the_ordinary_one_is_announced_and_the_installation_goes_on(
    python: Path, tmp_path: Path
) -> None:
    (tmp_path / "wheels").mkdir()
    version, said, _ = _run(python, tmp_path / "wheels", uv_says=2)
    assert version is None
    assert "the ordinary PyTorch will be installed, which takes some 5 GB" in said
    assert "README.md ('PyTorch')" in said
