"""The whole command, on the starter model, which is small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

_COMMAND = [sys.executable, "-c", "from captionloop.backend.cli import main; main()", "bench"]


@pytest.mark.slow
def test_it_compares_with_plain_transformers_and_says_what_the_machine_can_do(tmp_path: Path) -> None:
    page = tmp_path / "bench.html"
    only = [f"--only={key}" for key in ("starter_latency", "starter_bulk", "gpu_bulk")]

    done = subprocess.run([*_COMMAND, *only, "--json", "--html", str(page)], stdout=subprocess.PIPE, check=True)

    figures = json.loads(done.stdout)
    assert figures["machine"]["fp32"] > 0
    assert (figures["machine"]["bf16"] or 0) > 0 or figures["machine"]["bf16_unit"] is None
    for key in ("starter_latency", "starter_bulk"):
        assert set(figures[key]) == {"ratio", "ours", "baseline", "unit", "runs", "spread"}
        assert figures[key]["runs"] >= 3
    assert "starter model: captions of pictures never seen" in page.read_text(encoding="utf-8")
    if not torch.cuda.is_available():
        assert (figures["gpu"], figures["gpu_bulk"]) == (None, None)
        assert "Not measured, as there is no GPU: gpu_bulk." in page.read_text(encoding="utf-8")
