"""`python -m tools.notebooks [FILE…]`: run the notebooks in `examples/` from top to bottom, and keep their outputs.

The first needs nothing else; `the_loop.ipynb` needs a running `make run`, and is run only when it is named. What is
kept has no progress bars in motion, no times and no paths of this machine; a checksum of the code cells says which code
the outputs belong to.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent.parent / "examples"
FINETUNE, THE_LOOP = EXAMPLES / "finetune_blip.ipynb", EXAMPLES / "the_loop.ipynb"
CELL_TIMEOUT_S = 900
_CHECKSUM = "captionloop_code_sha256"
# Of a bar: the speed goes, the loss stays.
_SPEED = re.compile(r" \[[^\]]*?(, loss=[\d.]+)?\]")
_BAR = "Training: "


def code_checksum(notebook: Any) -> str:
    """The SHA-256 of the sources of all code cells, in order."""
    sources = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def kept_checksum(notebook: Any) -> str | None:
    """That of the code whose outputs the notebook has."""
    found: str | None = notebook["metadata"].get(_CHECKSUM)
    return found


def executed(path: Path) -> Any:
    """The notebook after all its cells have run, in a kernel of their own, which works beside the file.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook: Any = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.absolute().parent)}},
    )
    client.execute()
    return notebook


def for_keeping(notebook: Any) -> Any:
    """The notebook without what differs from one run to the next, with the checksum of its code."""
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        if cell["cell_type"] == "code":
            cell["outputs"] = _kept(cell["outputs"])
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        _CHECKSUM: code_checksum(notebook),
    }
    return notebook


def _kept(outputs: Sequence[Any]) -> list[Any]:
    """Everything but standard error, of which the last states of the bars with a loss come first."""
    errors: list[Any] = []
    others: list[Any] = []
    for output in outputs:
        (errors if output.get("name") == "stderr" else others).append(output)
    bars = _last_states("".join(output["text"] for output in errors))
    said = [nbformat.v4.new_output("stream", name="stderr", text=bars)] if bars else []
    return [*said, *others]


def _last_states(text: str) -> str:
    """What a terminal would show at last of bars with a loss, without their speed."""
    lines = [[state for state in line.split("\r") if state.strip()] for line in text.split("\n")]
    last = [states[-1] for states in lines if states]
    bars = [_SPEED.sub(lambda found: (found[1] or "").replace(", ", "  "), bar).rstrip() for bar in last]
    return "".join(f"{bar}\n" for bar in bars if bar.startswith(_BAR))


def main(names: Sequence[str]) -> None:
    for path in map(Path, names or [str(FINETUNE)]):
        print(f"{path} …", flush=True)
        done = for_keeping(executed(path))
        nbformat.write(done, path)


if __name__ == "__main__":
    main(sys.argv[1:])
