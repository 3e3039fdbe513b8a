"""Tables for download: the rows of a page as CSV or JSON."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

# A spreadsheet takes a cell that begins so for a formula, and a caption may be anybody's (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class DataTable:
    """Rows under named columns. Rows may come from a generator, and are streamed."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]

    def csv(self) -> Iterator[str]:
        """A line at a time, the first one with the columns."""
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        for row in chain([self.columns], self.rows):
            writer.writerow([_cell(value) for value in row])
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()

    def json(self) -> Iterator[str]:
        """A list of objects, one at a time."""
        before = "["
        for row in self.rows:
            values = dict(zip(self.columns, map(_plain, row), strict=True))
            yield before + "\n" + json.dumps(values, ensure_ascii=False)
            before = ","
        yield "[]\n" if before == "[" else "\n]\n"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _cell(value: Any) -> Any:
    value = " | ".join(value) if isinstance(value, list) else _plain(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
