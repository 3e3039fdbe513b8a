"""The lines of a run in the worker's log, which `captionloop up` keeps.

The worker runs one job at a time, so the lines between a run's start and end belong to it.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

_LARGEST_PART_BYTES = 2 * 1024 * 1024
_MOST_LINES = 200
# Lines may be written just before the row's start time, or just after its end.
_AROUND = timedelta(seconds=2)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} ")


@dataclass(frozen=True)
class WorkerLog:
    """The end of the log. `lines` have their time; those of a traceback have the time of its first line."""

    path: Path
    exists: bool
    lines: tuple[tuple[datetime, str], ...] = ()

    @classmethod
    def read(cls, path: Path) -> "WorkerLog":
        """The log's last two megabytes; empty if `captionloop up` did not start the worker."""
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _LARGEST_PART_BYTES))
                text = file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return cls(path, exists=False)
        lines: list[tuple[datetime, str]] = []
        for line in text.splitlines():
            if found := _MOMENT.match(line):
                lines.append((datetime.fromisoformat(found[1]).astimezone(), line))  # the machine's own time
            elif (entry := _json_entry(line)) is not None:
                lines.append(entry)
            elif lines:
                lines.append((lines[-1][0], line))
        return cls(path, exists=True, lines=tuple(lines))

    def between(self, begun: datetime | None, ended: datetime | None) -> list[str]:
        """The last lines between two times; none before a run has started."""
        if begun is None:
            return []
        first, last = begun - _AROUND, (ended + _AROUND if ended else None)
        mine = [line for moment, line in self.lines if moment >= first and (last is None or moment <= last)]
        return mine[-_MOST_LINES:]


def _json_entry(line: str) -> tuple[datetime, str] | None:
    """The time and text of a JSON line."""
    try:
        entry = json.loads(line)
        moment = datetime.fromisoformat(entry["time"]).astimezone()
        said = f"{moment:%Y-%m-%d %H:%M:%S} {entry['level']} {entry['logger']}: {entry['message']}"
    except (ValueError, KeyError, TypeError):
        return None
    return moment, f"{said}\n{entry['exc_info']}" if entry.get("exc_info") else said
