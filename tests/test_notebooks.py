"""The notebooks in `examples/` run from top to bottom, and what is committed is what their code gave.

`the_loop.ipynb` is run in the instance of `tests/backend/local/test_up.py`.
"""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from tools.notebooks import EXAMPLES, FINETUNE, code_checksum, kept_checksum

from tests.support.notebooks import printed_by

_LARGEST_BYTES = 1_500_000
_OF_A_MACHINE = re.compile(
    r"/tmp/|/home/|/root/|/work/|site-packages|ipykernel_\d|\b\d+\.\d+\.\d+\.\d+\b(?<!127\.0\.0\.1)"
)

NOTEBOOKS = pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)


@NOTEBOOKS
def test_the_outputs_are_of_this_code(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert kept_checksum(notebook) == code_checksum(notebook), f"Run it again: python -m tools.notebooks {path}"


@NOTEBOOKS
def test_all_cells_were_run_in_order_and_none_failed(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"] == []


@NOTEBOOKS
def test_outputs_are_small_and_say_nothing_of_a_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert path.stat().st_size < _LARGEST_BYTES
    outputs = json.dumps([cell.get("outputs", []) for cell in notebook["cells"]])
    shown = re.sub(r"data:image/\w+;base64,[\w+/=]+|\"image/png\": \"[^\"]+\"", "", outputs)
    assert _OF_A_MACHINE.findall(shown) == []


@NOTEBOOKS
def test_it_says_what_it_does(path: Path) -> None:
    """More cells of text than a list of commands has."""
    kinds = [cell["cell_type"] for cell in nbformat.read(path, as_version=4)["cells"]]
    assert kinds[0] == kinds[-1] == "markdown"
    assert kinds.count("markdown") >= kinds.count("code") / 2


@pytest.mark.slow
def test_the_fine_tuning_runs_from_top_to_bottom(tmp_path: Path) -> None:
    printed = printed_by(FINETUNE, tmp_path / "empty", {**os.environ, "CAPTIONLOOP_HOME": str(tmp_path / "home")})

    assert "100% exactly right" in printed
    assert "captionloop:        One " in printed
