"""Tables to take away: the same rows as on a page, as CSV or JSON."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from flask import Response, stream_with_context
from werkzeug.exceptions import BadRequest

# A spreadsheet takes a cell that begins so for a formula, and a caption may be anybody's (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class DataTable:
    """Rows under named columns. Thousands of rows may come from a generator, and are sent as it gives them."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]

    def download(self, form: str | None, *, name: str) -> Response | None:
        """The table as an attachment; None when no format is asked for.

        Raises:
            BadRequest: another format than "csv" and "json".
        """
        if form is None:
            return None
        if form not in ("csv", "json"):
            raise BadRequest(f"There is no download as {form!r}; there are csv and json.")
        text = self._csv() if form == "csv" else self._json()
        response = Response(stream_with_context(text), mimetype="text/csv" if form == "csv" else "application/json")
        response.headers["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
        return response

    def _csv(self) -> Iterator[str]:
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        for row in chain([self.columns], self.rows):
            writer.writerow([_cell(value) for value in row])
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()

    def _json(self) -> Iterator[str]:
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
