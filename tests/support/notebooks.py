"""The notebooks in `examples/`, run as their readers run them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
from tools.notebooks import code_checksum, kept_checksum


def printed_by(notebook: Path, directory: Path, environment: Mapping[str, str]) -> str:
    """What its cells print when it is run in an empty directory."""
    directory.mkdir()
    copy = Path(shutil.copy(notebook, directory))
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    subprocess.run(
        [sys.executable, "-m", "tools.notebooks", str(copy)],
        cwd=Path(__file__).parents[2],
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
