"""The fault tables name existing tests, and each fault once."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_PAGES = sorted((_ROOT / "docs").glob("reliability*.md"))
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_TEST = re.compile(r"\b(?:test_|Test)\w+(?=`|…)")  # of a name with its file, the test


def tables(page: str) -> Iterator[list[str]]:
    """The rows of each table, without its head."""
    for is_row, lines in groupby(page.splitlines(), key=lambda line: line.startswith("|")):
        if is_row:
            yield list(lines)[2:]


def named_twice(page: str) -> list[str]:
    """Faults that a table names twice, and tests that two rows name, as a row that was reworded would."""
    rows = [row for table in tables(page) for row in table]
    faults = [_twice(_words(row.split("|")[1]) for row in table) for table in tables(page)]
    return [*(fault for found in faults for fault in found), *_twice(test for row in rows for test in _tests(row))]


def _words(text: str) -> str:
    return " ".join(text.casefold().split())


def _tests(row: str) -> set[str]:
    return set(_TEST.findall(row))


def _twice(texts: Iterable[str]) -> list[str]:
    return [text for text, count in Counter(texts).items() if count > 1]


def test_each_fault_in_the_tables_has_its_test() -> None:
    named = [found for page in _PAGES for found in _NAMED.findall(page.read_text())]
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (_ROOT / file).read_text()]

    assert (len(named) >= 50, missing) == (True, [])


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_no_table_names_a_row_twice(page: Path) -> None:
    assert named_twice(page.read_text()) == []


@pytest.mark.parametrize(
    "added",
    [
        "| SIGKILL to the  worker | goes on by itself | `test_another` |",
        "| the worker is killed | the run resumes | `tests/faults/test_kills.py::test_goes_on` |",
    ],
    ids=["the same fault", "the same test"],
)
def test_a_row_that_came_back_reworded_is_found(added: str) -> None:
    """As a merge that keeps the lines of both sides brings it."""
    rows = [
        "| fault | what happens | test |",
        "| --- | --- | --- |",
        "| SIGKILL to the worker | resumes | `test_goes_on` |",
    ]

    assert named_twice("\n".join(rows)) == []
    assert named_twice("\n".join([*rows, added])) != []
