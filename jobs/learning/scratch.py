"""The scratch directory of an attempt at a run, separate from those of other attempts.

An attempt that is taken for dead may continue (see `attempt`). The next one copies the files to resume from out of the
previous directory; later writes there are ignored.
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
    """The directory of an attempt, with files of the previous one; removed at the end of the block.

    Args:
        root: the run's directory, with one of each attempt.
        number: of the attempt, higher than those before it.

    Raises:
        StorageError: the disk is full or read-only.
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
