"""The fault tables name existing tests."""

import re
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_each_fault_in_the_tables_has_its_test() -> None:
    named = [found for page in (_ROOT / "docs").glob("reliability*.md") for found in _NAMED.findall(page.read_text())]
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (_ROOT / file).read_text()]

    assert (len(named) >= 50, missing) == (True, [])
