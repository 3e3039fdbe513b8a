"""The whole command, on the starter model, which is small."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tests.support.machine import multiply_small_matrices

from captionloop.backend.cli import cli


@pytest.mark.slow
def test_bench_compares_with_plain_transformers_and_says_what_the_machine_can_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiply_small_matrices(monkeypatch)
    page = tmp_path / "bench.html"
    only = [f"--only={key}" for key in ("starter_latency", "starter_bulk", "gpu_bulk")]

    done = CliRunner().invoke(cli, ["bench", *only, "--json", "--html", str(page)], obj={}, catch_exceptions=False)

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
