"""A newcomer's folder of 400 pictures as they come, in an environment in which nothing runs and nothing is set."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.odd_pictures import save_as_it_comes

from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import draw
from captionloop.model.starter.styles import STYLES

pytestmark = pytest.mark.slow

PICTURES = 400


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In sub-folders, PNG and JPEG of all kinds, captions with capitals and full stops."""
    directory = tmp_path_factory.mktemp("alone") / "my photos"
    for number in range(PICTURES):
        scene, seed = example("alone", number)
        folder = directory / f"{number // 200} summer"
        folder.mkdir(parents=True, exist_ok=True)
        picture = save_as_it_comes(draw(scene, seed=seed), folder / f"IMG {number:04}", number)
        picture.with_suffix(".txt").write_text(f"{STYLES['new_words'](scene).capitalize()}.\n")
    return directory


def test_three_commands_lead_to_captions(photos: Path, tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        program = [sys.executable, "-c", "from captionloop.backend.cli import main; main()", *map(str, arguments)]
        environment = {"HOME": str(tmp_path), "PATH": os.defpath, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    said = run("train", photos, "--out", "my-blip", "--set", "steps=30").stdout
    captioned = run("caption", photos / "0 summer", "--model", "my-blip", "--out", "captions.jsonl")
    compared = json.loads(run("compare", "starter", "my-blip", "--dataset", photos, "--json").stdout)

    assert re.search(r"^CIDEr-D .* better$", said, re.MULTILINE), said
    assert all(command in said for command in ("captionloop caption", "captionloop compare", "captionloop up --model"))
    assert "my-blip/report.html" in said
    rows = [json.loads(line) for line in (tmp_path / "captions.jsonl").read_text().splitlines()]
    assert len(rows) == 200, captioned.stderr
    manifest = json.loads((tmp_path / "my-blip" / "captionloop.json").read_text())
    comparison = json.loads((tmp_path / "my-blip" / "comparison.json").read_text())
    assert compared["images"] == len(comparison["images"])
    assert compared["images"] + manifest["corrections"] == PICTURES
    assert compared["figures"]["exact_match"]["second"] == comparison["figures"]["exact_match"]["second"]
