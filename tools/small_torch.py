"""Install the small PyTorch, without CUDA, into this virtual environment, on machines without an NVIDIA driver.

On Linux the package index has PyTorch with gigabytes of CUDA, which pip installs unless a PyTorch is present. A small
one is what pip finds under a version that ends in `+cpu`, on a mirror or on disk, or what uv finds at PyTorch's own
index. If neither finds one, a message says so, and pip will install the large one.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

_PROJECT = Path(__file__).parent.parent / "pyproject.toml"
_SMALL = "+cpu"  # how PyTorch names its builds without CUDA
_PIP = [sys.executable, "-m", "pip"]


def main(arguments: Sequence[str]) -> None:
    """Take one within the range that the project asks for, or the version that is named."""
    if sys.platform != "linux" or find_spec("torch") or has_nvidia_driver():
        return
    wanted = f"torch=={arguments[0]}" if arguments else requirement(_PROJECT.read_text(encoding="utf-8"))
    print(f"No NVIDIA driver is here: looking for {wanted} without CUDA …", flush=True)
    if not (_by_pip(wanted) or _by_uv(wanted)):
        print(
            "Neither pip nor uv finds one from here, so the ordinary PyTorch will be installed, which takes some 5 GB."
            " README.md ('PyTorch') says how to put another one into .venv before that.",
            file=sys.stderr,
        )


def has_nvidia_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def requirement(project: str) -> str:
    """The requirement in the text of pyproject.toml: `torch>=2.13,<2.15`."""
    found = re.search(r'"(torch>=[\d.]+,<[\d.]+)"', project)
    assert found, "pyproject.toml does not ask for torch by a range"
    return found[1]


def newest_small(versions: str, wanted: str) -> str | None:
    """The newest suitable small version in the output of `pip index versions`.

    Args:
        wanted: `torch>=2.13,<2.15`, or `torch==2.14.1`.
    """
    lowest, *above = (_numbers(bound) for bound in re.findall(r"[\d.]+", wanted))
    small = [version for version in re.findall(r"[\w.+]+", versions) if version.endswith(_SMALL)]
    for version in small:
        numbers = _numbers(version.removesuffix(_SMALL))
        if lowest <= numbers < above[0] if above else numbers == lowest:
            return version
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _by_pip(wanted: str) -> bool:
    asked = subprocess.run(
        [*_PIP, "index", "versions", "torch"], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    )
    version = newest_small(asked.stdout, wanted)
    return version is not None and _succeeds([*_PIP, "install", "--no-compile", f"torch=={version}"])


def _by_uv(wanted: str) -> bool:
    uv = shutil.which("uv") or _installed_uv()
    return uv is not None and _succeeds(
        [uv, "pip", "install", "--python", sys.executable, "--torch-backend", "cpu", wanted]
    )


def _installed_uv() -> str | None:
    uv = Path(sys.executable).with_name("uv")
    return str(uv) if uv.exists() or _succeeds([*_PIP, "install", "--quiet", "uv"]) else None


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command).returncode == 0


if __name__ == "__main__":
    main(sys.argv[1:])
