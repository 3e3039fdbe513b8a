"""Downloads of tables."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from werkzeug.exceptions import BadRequest

from captionloop.backend.page_data.tables import DataTable
from captionloop.backend.pages.downloads import download

_MOMENT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def asked() -> Iterator[None]:
    """A request, which a table is sent row by row to."""
    with Flask("tables").test_request_context():
        yield


def cells(*values: object) -> list[str]:
    """A row of one table as a spreadsheet reads it."""
    answer = download(DataTable([str(number) for number in range(len(values))], [values]), "csv", name="t")
    assert answer is not None
    return list(csv.reader(io.StringIO(answer.get_data(as_text=True))))[1]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_caption_that_a_spreadsheet_would_compute_is_marked_as_text(start: str) -> None:
    assert cells(f"{start}cmd|' /C calc'!A0") == [f"'{start}cmd|' /C calc'!A0"]


def test_numbers_stay_numbers_and_moments_are_iso() -> None:
    assert cells(-1.5, None, True, _MOMENT, 'a, "b"') == ["-1.5", "", "True", "2026-05-04T03:02:01+00:00", 'a, "b"']


def test_json_has_a_row_for_each_with_the_columns_as_names() -> None:
    answer = download(DataTable(("version", "made"), [("v1", _MOMENT), ("=v2", None)]), "json", name="t")

    assert answer is not None
    assert answer.get_json() == [
        {"version": "v1", "made": "2026-05-04T03:02:01+00:00"},
        {"version": "=v2", "made": None},
    ]


def test_without_a_format_there_is_nothing_to_download() -> None:
    assert download(DataTable(("version",), []), None, name="t") is None


def test_another_format_is_refused_by_name() -> None:
    with pytest.raises(BadRequest, match=r"no download as 'xlsx'; there are csv and json"):
        download(DataTable(("version",), []), "xlsx", name="t")
