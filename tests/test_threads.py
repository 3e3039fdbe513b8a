"""Several of our processes share the cores of one machine."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("given", "found"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_wait_without_spinning_unless_somebody_wants_it_otherwise(given: dict[str, str], found: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
    command = [sys.executable, "-c", "import captionloop, os; print(os.environ['OMP_WAIT_POLICY'])"]

    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert printed.strip() == found
