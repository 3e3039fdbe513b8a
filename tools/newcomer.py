"""`make newcomer`: a first installation in a clean Debian with only Python, make and git.

A Debian is bootstrapped into a folder. In it an unprivileged user clones this repository and types `make run`, until
the sample's pictures have captions; runs the doctor; stops it with Ctrl-C; and starts it again. It uses the machine's
pip configuration, and its own mounts, processes and home, which are removed afterwards.

Needs root, for the mounts, and debootstrap: `sudo make newcomer`, or `sudo make newcomer ARGS='--suite forky'`.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_REPOSITORY = Path(__file__).parent.parent
_DAY = Path(__file__).with_name("newcomers_day.py")
_PACKAGES = "python3,python3-venv,make,git,ca-certificates"
_USER = "newcomer"
# What a site needs to reach its index; nothing else of the environment goes along.
_KEPT = re.compile(
    r"PIP_.*|.*_proxy|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|CAPTIONLOOP_(LABEL_STUDIO_)?PORT", re.I
)


def main() -> None:
    arguments = _arguments()
    if arguments.inside:
        _prepare(arguments.root)
        sys.exit(_live_the_day(arguments.root))
    if why := _why_not():
        print(f"skipped: {why}")
        return
    with _folder(arguments.root) as root:
        _bootstrap(root, arguments.suite)
        # Mounts and processes of its own: whatever happens, nothing of them is left, and what is deleted here is a
        # folder in which nothing is mounted.
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command = [sys.executable, "-m", "tools.newcomer", "--inside", "--root", str(root)]
        ended = subprocess.run([*own, *command], cwd=_REPOSITORY)
    sys.exit(ended.returncode)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="trixie", help="the release of Debian, hence of Python")
    parser.add_argument("--root", type=Path, help="folder for it, which is then kept and used again")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # with mounts of its own
    return parser.parse_args()


def _why_not() -> str | None:
    if os.getuid() != 0:
        return "it needs root, to mount and to change the root directory"
    if not shutil.which("debootstrap"):
        return "there is no debootstrap (apt install debootstrap)"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return "mounting is not allowed here"
    return None


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="captionloop-newcomer-") as made:
        yield Path(made)


def _bootstrap(root: Path, suite: str) -> None:
    if not (root / "etc" / "debian_version").exists():
        print(f"Bootstrapping Debian {suite} into {root} …", flush=True)
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, str(root)],
            check=True,
            stdout=subprocess.DEVNULL,
        )


def _prepare(root: Path) -> None:
    """The mounts, the package index as it is outside, a user with an empty home, and the repository to clone from."""
    _mount("--types", "proc", "proc", str(root / "proc"))
    _mount("--rbind", "/dev", str(root / "dev"))
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", root / "etc" / name)
    configuration = _pip_configuration()
    (root / "etc" / "pip.conf").write_text(as_file(configuration), encoding="utf-8")
    for path in paths_in([*configuration.values(), *_environment().values()]):
        _show(path, root)
    home = root / "home" / _USER
    shutil.rmtree(home, ignore_errors=True)
    if subprocess.run(["chroot", root, "id", _USER], capture_output=True).returncode:
        subprocess.run(["chroot", root, "useradd", "--shell", "/bin/bash", _USER], check=True)
    subprocess.run(["chroot", root, "install", "-d", "-o", _USER, "-g", _USER, f"/home/{_USER}"], check=True)
    bundle = root / "srv" / "captionloop.bundle"
    subprocess.run(["git", "-C", _REPOSITORY, "bundle", "create", "--quiet", bundle, "HEAD"], check=True)
    shutil.copy(_DAY, root / "srv" / _DAY.name)


def _live_the_day(root: Path) -> int:
    variables = {"HOME": f"/home/{_USER}", "USER": _USER, "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    chroot = shutil.which("chroot") or "chroot"  # found with our PATH, not with theirs
    command = [chroot, f"--userspec={_USER}:{_USER}", str(root), "python3", f"/srv/{_DAY.name}"]
    return subprocess.run(command, env={**_environment(), **variables}).returncode


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}


def _pip_configuration() -> dict[str, str]:
    """The machine's pip configuration, such as `global.cert`, without its variables, which are passed as such."""
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "list"], stdout=subprocess.PIPE, text=True)
    lines = (line.partition("=") for line in asked.stdout.splitlines() if not line.startswith(":env:"))
    return {name: str(ast.literal_eval(value)) for name, _, value in lines}


def as_file(configuration: Mapping[str, str]) -> str:
    """The same as the text of a pip.conf."""
    sections: dict[str, list[str]] = {}
    for name, value in configuration.items():
        section, _, option = name.rpartition(".")
        sections.setdefault(section, []).append(f"{option} = {' '.join(value.split())}\n")
    return "".join(f"[{section}]\n{''.join(options)}" for section, options in sections.items())


def paths_in(values: list[str]) -> list[Path]:
    """Files and folders of this machine that a setting names; an index in a folder keeps its packages beside it."""
    words = {word for value in values for word in value.split()}
    named = {Path(word) for word in words if word.startswith("/")}
    indexes = {Path(word.removeprefix("file://")).parent for word in words if word.startswith("file:///")}
    paths = sorted(path for path in named | indexes if path.exists())
    return [path for path in paths if not any(parent in path.parents for parent in paths)]


def _show(path: Path, root: Path) -> None:
    """A file or folder of this machine at the same place below `root`, to be read only."""
    shown = root / path.relative_to("/")
    shown.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shown.mkdir(exist_ok=True)
    else:
        shown.touch()
    _mount("--bind", "--options", "ro", str(path), str(shown))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main()
