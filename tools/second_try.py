"""Run the files in which tests have failed again, one test at a time, and name the tests: for CI after a failure.

Tests wait for servers and browsers on a busy machine, and one of thousands may lose such a race. One that fails alone
as well is a failure; so are more than a few, which no accident makes.
"""

import json
import subprocess
import sys
from pathlib import Path

MOST_TESTS = 3
_FAILED = Path(".pytest_cache/v/cache/lastfailed")


def failed(stored: Path = _FAILED) -> list[str]:
    """The tests that failed in the last run of pytest; empty if that did not come about."""
    return sorted(json.loads(stored.read_text(encoding="utf-8"))) if stored.exists() else []


def files_of(tests: list[str]) -> list[str]:
    return sorted({test.partition("::")[0] for test in tests})


def main() -> None:
    tests = failed()
    if not 0 < len(tests) <= MOST_TESTS:
        sys.exit(f"No second try: {len(tests) or 'no'} tests have failed, and 1 to {MOST_TESTS} may be an accident.")
    print("A second try, one test at a time, of the files of:", *tests, sep="\n  ", flush=True)
    again = subprocess.run([sys.executable, "-m", "pytest", "--numprocesses", "0", *files_of(tests)], check=False)
    if again.returncode == 0:
        print(
            "They passed alone. They depend on what else the machine does, which is a fault of their own:",
            *tests,
            sep="\n  ",
        )
    sys.exit(again.returncode)


if __name__ == "__main__":
    main()
