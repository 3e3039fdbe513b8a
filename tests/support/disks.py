"""Disks on which nothing can be written: really full (a small file system of its own), or really read-only."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_ROOM_BYTES = 1 << 20  # for what the file system itself needs beside the files


@contextmanager
def full_disk(directory: Path, *, spare_bytes: int = 0) -> Iterator[None]:
    """The directory, with what it holds, on a file system of its own that is full but for some spare bytes.

    At the end what it holds is back on the ordinary disk, without what filled it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    aside = directory.with_name(directory.name + ".aside")
    directory.rename(aside)
    directory.mkdir()
    held = sum(path.stat().st_size for path in aside.rglob("*") if path.is_file())
    pages = 1 + sum(1 for _ in aside.rglob("*"))
    size = held + 8192 * pages + spare_bytes + _ROOM_BYTES
    _mount(directory, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    try:
        shutil.copytree(aside, directory, dirs_exist_ok=True)
        shutil.rmtree(aside)
        fill(directory / ".filling", leave=spare_bytes)
        yield
    finally:
        (directory / ".filling").unlink(missing_ok=True)
        shutil.copytree(directory, aside)
        subprocess.run(["umount", directory], check=True)
        directory.rmdir()
        aside.rename(directory)


@contextmanager
def read_only_disk(directory: Path) -> Iterator[None]:
    """The directory mounted once more, for reading only; so it is for root as well."""
    directory.mkdir(parents=True, exist_ok=True)
    _mount(directory, "--bind", str(directory))
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


def _mount(directory: Path, *arguments: str) -> None:
    done = subprocess.run(["mount", *arguments, directory], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")


def fill(file: Path, *, leave: int = 0) -> None:
    """Let a file take all room that its disk has left, but for some bytes."""
    with file.open("wb", buffering=0) as filling:
        for block in (1 << 16, 4096):
            while True:
                try:
                    filling.write(b"x" * block)
                except OSError:
                    break
        filling.truncate(max(filling.tell() - leave, 0))
