"""Where an attempt at a run keeps what it works on: a directory of its own, so that no other attempt writes into it.

An attempt that is taken over for dead may go on (see `attempt`). What the next one goes on from is copied out of the
directory of the one before; whatever that still writes, nobody reads.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from captionloop.home import storing, unfinished_directory
from captionloop.model.training.log import EVALUATIONS_FILE, STEPS_FILE

PLAN, STATE, VERSION = "plan.json", "state.safetensors", "version"
# Of these the first two are only ever replaced as a whole, never written into.
_HANDED_ON = (PLAN, STATE, f"{VERSION}/{STEPS_FILE}", f"{VERSION}/{EVALUATIONS_FILE}")
_UNFINISHED = ".unfinished-"


@contextmanager
def scratch_directory(root: Path, number: int) -> Iterator[Path]:
    """The directory of an attempt, with what the one before it left; removed at the end of the block.

    Args:
        root: of the run, in which each attempt has a directory.
        number: of the attempt; those before it have lower ones.

    Raises:
        StorageError: the disk is full, or is not to be written on.
    """
    directory = root / str(number)
    try:
        _take_over(root, directory, _earlier(root, number))
        yield directory
    finally:
        for done in (*_earlier(root, number), directory):
            shutil.rmtree(done, ignore_errors=True)
        with suppress(OSError):  # a later attempt works in it
            root.rmdir()


def _earlier(root: Path, number: int) -> Sequence[Path]:
    """The directories of earlier attempts, the latest one first."""
    there = root.iterdir() if root.is_dir() else ()
    found = [path for path in there if path.name.isdecimal() and int(path.name) < number]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def _take_over(root: Path, directory: Path, earlier: Sequence[Path]) -> None:
    with storing(root), unfinished_directory(root, prefix=_UNFINISHED) as unfinished:
        for name in _HANDED_ON if earlier else ():
            with suppress(FileNotFoundError):
                _copy(earlier[0] / name, unfinished / name)
        unfinished.rename(directory)
    for path in earlier:
        shutil.rmtree(path, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    if source.name in {PLAN, STATE}:
        with suppress(OSError):  # a file system without links
            os.link(source, target)
            return
    shutil.copyfile(source, target)
