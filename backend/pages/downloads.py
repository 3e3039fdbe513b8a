"""Tables as downloads."""

from flask import Response, stream_with_context
from werkzeug.exceptions import BadRequest

from captionloop.backend.page_data.tables import DataTable


def download(table: DataTable, form: str | None, *, name: str) -> Response | None:
    """The table as an attachment; None if no format is requested.

    Raises:
        BadRequest: the format is neither "csv" nor "json".
    """
    if form is None:
        return None
    if form not in ("csv", "json"):
        raise BadRequest(f"There is no download as {form!r}; there are csv and json.")
    text = table.csv() if form == "csv" else table.json()
    response = Response(stream_with_context(text), mimetype="text/csv" if form == "csv" else "application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return response
