"""Tables to take away: the same rows as on a page, as CSV or JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Response
from werkzeug.exceptions import BadRequest

# A spreadsheet takes a cell that begins so for a formula, and a caption may be anybody's (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Table:
    """Rows under named columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

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
        response = Response(text, mimetype="text/csv" if form == "csv" else "application/json")
        response.headers["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
        return response

    def _csv(self) -> str:
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        writer.writerow(self.columns)
        writer.writerows([_cell(value) for value in row] for row in self.rows)
        return buffer.getvalue()

    def _json(self) -> str:
        rows = [dict(zip(self.columns, map(_plain, row), strict=True)) for row in self.rows]
        return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _cell(value: Any) -> Any:
    value = _plain(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
