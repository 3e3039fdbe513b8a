"""The notebooks in `examples/` run from top to bottom, and what is committed is what their code gave."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest
from tools.notebooks import EXAMPLES, FINETUNE, THE_LOOP, code_checksum, kept_checksum

from tests.support.person import newcomer

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


def _printed_by(notebook: Path, directory: Path, environment: Mapping[str, str]) -> str:
    """What its cells print when it is run in an empty directory."""
    directory.mkdir()
    copy = Path(shutil.copy(notebook, directory))
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    subprocess.run(
        [sys.executable, "-m", "tools.notebooks", str(copy)],
        cwd=Path(__file__).parent.parent,
        env={
            **environment,
            "PATH": path,
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "TMPDIR": str(directory.parent),
        },
        check=True,
    )
    assert list(directory.iterdir()) == [copy]
    done = nbformat.read(copy, as_version=4)
    assert kept_checksum(done) == code_checksum(done)
    outputs = [output for cell in done["cells"] for output in cell.get("outputs", [])]
    return "\n".join(output["text"] for output in outputs if output["output_type"] == "stream")


@pytest.mark.slow
def test_the_fine_tuning_runs_from_top_to_bottom(tmp_path: Path) -> None:
    printed = _printed_by(FINETUNE, tmp_path / "empty", {**os.environ, "CAPTIONLOOP_HOME": str(tmp_path / "home")})

    assert "100% exactly right" in printed
    assert "captionloop:        One " in printed


@pytest.mark.slow
def test_the_loop_is_gone_around_in_a_running_instance(tmp_path: Path, cache: Path) -> None:
    somebody = newcomer(tmp_path, cache=cache)
    up = somebody.starts()
    try:
        somebody.waits_until_ready(up, within_s=1200)
        printed = _printed_by(THE_LOOP, tmp_path / "empty", somebody.environment)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)

    assert "40 corrections are kept" in printed
    assert "is the champion now" in printed
