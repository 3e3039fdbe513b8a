"""A cache of version reports: drawing one takes a second, and it seldom changes."""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path

from captionloop.backend.drawing import plot_style
from captionloop.backend.report_page.page import report_html
from captionloop.errors import StorageError
from captionloop.home import Home, write_atomically
from captionloop.model.evaluation.calibration import Chances
from captionloop.model.versions.report import read_report
from captionloop.model.versions.store import VersionInfo

_log = logging.getLogger(__name__)


def kept_report(version: VersionInfo, home: Home, *, chances: Chances | None = None) -> bytes:
    """The page of `report_html` in UTF-8, from the cache.

    Args:
        version: a version with its files.
        home: of the cache.
        chances: calibration of its scores; see `read_report`.

    Raises:
        CheckpointError: what the version's directory holds cannot be read.
    """
    path = home.reports / f"{version.version}-{_key(version, chances)}.html"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        page = report_html(read_report(version, home, chances=chances)).encode()
        _keep(path, page, besides=home.reports.glob(f"{version.version}-{'?' * _KEY_LENGTH}.html"))
        return page


def _keep(path: Path, page: bytes, *, besides: Iterable[Path]) -> None:
    """Store the page and delete earlier ones. A failure is only logged."""
    try:
        for earlier in besides:
            earlier.unlink(missing_ok=True)
        write_atomically(path, page)
    except (OSError, StorageError) as error:
        _log.warning("a report is not kept: %s", error)


_KEY_LENGTH = 16


def _key(version: VersionInfo, chances: Chances | None) -> str:
    """The cache key: a version's files never change, but its state, its calibration and our drawing code do."""
    worth = [asdict(found) for found in (chances.raw, chances.calibrated) if found] if chances else []
    facts = [
        worth,
        chances and chances.note,
        version.state,
        version.parent,
        version.corrections,
        version.reason,
        str(version.created_at),
        _drawn_by(),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:_KEY_LENGTH]


@cache
def _drawn_by() -> str:
    """A hash of the code that draws."""
    ours = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in {".py", ".html"})
    files = [*ours, Path(plot_style.__file__)]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
