"""`captionloop evaluate` and `captionloop report`, as they are called."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.support.versions import FinishedRun

from captionloop.backend.cli import main
from captionloop.model.database import Database
from captionloop.model.dataset.styles import begin_style, move_corrections
from captionloop.model.versions.manifest import read_manifest, verify_files

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "golden.json").read_text(encoding="utf-8"))


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    (tmp_path / "R.json").write_text(json.dumps(GOLDEN["references"]))
    (tmp_path / "C.json").write_text(json.dumps(GOLDEN["captions"]))
    return tmp_path


@pytest.fixture
def run(finished: FinishedRun) -> FinishedRun:
    return finished


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def run_command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run_command


def data(called: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = called
    assert code == 0, err
    return dict(json.loads(out))


def files(directory: Path) -> Sequence[str]:
    return "--references", str(directory / "R.json"), "--captions", str(directory / "C.json")


# Files ---------------------------------------------------------------------------------------------------------------


def test_published_scores_come_out(call, golden: Path) -> None:  # type: ignore[no-untyped-def]
    found = data(call("evaluate", *files(golden), "--json"))
    assert {name: found[name] for name in GOLDEN["corpus"]} == pytest.approx(GOLDEN["corpus"], abs=1e-6)
    assert found["images"] == len(GOLDEN["captions"])
    assert {"exact_match", "word_edit_rate"} <= found.keys()


def test_the_scores_of_each_image_are_written_to_a_file(call, golden: Path) -> None:  # type: ignore[no-untyped-def]
    data(call("evaluate", *files(golden), "--per-image", "per_image.json", "--json"))
    found = json.loads(Path("per_image.json").read_text())
    for score, expected in GOLDEN["per_image"].items():
        assert {image: scores[score] for image, scores in found.items()} == pytest.approx(expected, abs=1e-6)
    assert {image: scores["caption"] for image, scores in found.items()} == GOLDEN["captions"]


def test_the_figures_are_printed_for_people(call, golden: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = call("evaluate", *files(golden))
    assert code == 0
    assert f"cider_d         {GOLDEN['corpus']['cider_d']:.4f}\n" in out
    assert out.endswith(f"images          {len(GOLDEN['captions'])}\n")


def test_a_nought_of_cider_d_on_a_single_image_has_its_reason(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "R.json").write_text(json.dumps({"1": ["a red car"]}))
    (tmp_path / "C.json").write_text(json.dumps({"1": "a red car"}))

    code, out, _ = call("evaluate", *files(tmp_path))

    assert code == 0
    assert "CIDEr-D is 0 whatever the captions say" in out
    assert data(call("evaluate", *files(tmp_path), "--json"))["notes"]


def test_cocos_formats_score_the_same(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    references = {"1": ["a red car", "one car"], "2": ["the dog"]}
    captions = {"1": "a red car", "2": "the cat"}
    (tmp_path / "R.json").write_text(json.dumps(references))
    (tmp_path / "C.json").write_text(json.dumps(captions))
    plain = data(call("evaluate", *files(tmp_path), "--coco-results", "results.json", "--json"))
    annotations = [{"image_id": int(image), "caption": text} for image, texts in references.items() for text in texts]
    (tmp_path / "R.json").write_text(json.dumps({"images": [{"id": 1}, {"id": 2}], "annotations": annotations}))
    shutil.move("results.json", tmp_path / "C.json")

    assert data(call("evaluate", *files(tmp_path), "--json")) == plain


def test_a_karpathy_split_is_scored(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    images = [
        {"split": split, "filename": "x.jpg", "cocoid": number, "sentences": [{"raw": "a dog"}]}
        for number, split in enumerate(["test", "val", "test"])
    ]
    (tmp_path / "R.json").write_text(json.dumps({"images": images}))
    (tmp_path / "C.json").write_text(json.dumps([{"image_id": number, "caption": "a dog"} for number in (0, 2)]))
    found = data(call("evaluate", *files(tmp_path), "--json"))
    assert (found["images"], found["exact_match"]) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--references", "R.json"), 2, "Give --references with --captions"),
        (("--version", "starter"), 2, "or --version or --model with --dataset"),
        (("--references", "R.json", "--captions", "C.json", "--version", "x"), 2, "Give --references"),
        (("--version", "a", "--against", "b", "--dataset", "c", "--meteor"), 2, "--meteor is not compared"),
        (("--references", "nothing.json", "--captions", "C.json"), 4, "There is no file nothing.json"),
        (("--references", "R.json", "--captions", "R.json"), 1, "R.json: image img0000 has 5 captions"),
        (("--version", "starter", "--dataset", "nowhere"), 4, "There is no dataset 'nowhere'"),
    ],
)
def test_an_evaluation_that_cannot_be_done_is_refused_with_its_reason(  # type: ignore[no-untyped-def]
    call, golden: Path, arguments, code: int, said: str
) -> None:
    found, _, err = call("evaluate", *arguments)
    assert (found, said in err) == (code, True), err


def test_scoring_files_imports_no_model(golden: Path) -> None:
    program = (
        "import sys; from captionloop.backend.cli import cli;"
        f"cli({['evaluate', *files(golden)]!r}, standalone_mode=False);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


# Versions ------------------------------------------------------------------------------------------------------------


def test_a_version_is_scored_on_a_snapshot(call, run: FinishedRun) -> None:  # type: ignore[no-untyped-def]
    name = run.version.version
    found = data(call("evaluate", "--version", name, "--dataset", run.snapshot.hash[:8], "--json"))
    assert (found["version"], found["images"]) == (name, len(run.held_out))
    every = data(call("evaluate", "--version", name, "--dataset", run.snapshot.hash, "--split", "all", "--json"))
    assert every["images"] == len(run.snapshot.examples)


def test_a_snapshot_of_several_styles_is_judged_in_one(call, run: FinishedRun, database: Database) -> None:  # type: ignore[no-untyped-def]
    with database.session() as session:
        begin_style(session, run.project.id, "British")
        moved = [example.correction for example in run.snapshot.examples[::2]]
        move_corrections(session, run.project.id, moved, to="British")
    call("dataset", "export", "--format", "csv", "--out", "exported")
    newest = max(run.snapshot.path.parent.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    arguments = ("evaluate", "--version", run.version.version, "--dataset", newest.stem, "--split", "all")

    found = data(call(*arguments, "--style", "British", "--json"))
    assert (found["style"], found["images"]) == ("British", len(moved))
    assert "In the style 'British'." in call(*arguments, "--style", "British", "--against", run.base.name)[1]
    found = data(call(*arguments, "--json"))
    assert (found["style"], found["images"]) == (None, len(run.snapshot.examples) - len(moved))
    code, _, err = call(*arguments, "--style", "terse")
    assert (code, "'British'" in err) == (4, True)


def test_a_model_that_is_no_version_is_scored_on_files(call, run: FinishedRun, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "pictures" / "one.png")
    image = {"split": "test", "filename": "one.png", "cocoid": 9, "sentences": [{"raw": "a red picture"}]}
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": [image]}))

    found = data(
        call(
            "evaluate", "--version", run.base.source, "--dataset", str(tmp_path / "dataset_coco.json"),
            "--images", str(tmp_path / "pictures"), "--coco-results", "results.json", "--json",
        )
    )  # fmt: skip

    assert found["images"] == 1
    assert [entry["image_id"] for entry in json.loads(Path("results.json").read_text())] == [9]


def test_two_versions_are_compared(call, run: FinishedRun) -> None:  # type: ignore[no-untyped-def]
    """The version's weights are the base's own, so that no figure differs."""
    found = data(
        call(
            "evaluate", "--version", run.version.version, "--against", run.base.name,
            "--dataset", run.snapshot.hash, "--json",
        )
    )  # fmt: skip
    assert found["versions"][run.version.version] == found["versions"][run.base.name]
    assert found["differences"]["score"] == {"difference": 0, "interval": [0, 0], "p_value": 1}


def test_a_comparison_is_printed_for_people(call, run: FinishedRun) -> None:  # type: ignore[no-untyped-def]
    name = run.version.version
    code, out, _ = call("evaluate", "--version", name, "--against", run.base.name, "--dataset", run.snapshot.hash)
    assert code == 0
    assert out.splitlines()[0].split() == [run.base.name, name, "difference", "95", "%", "interval", "p"]
    assert f"On {len(run.held_out)} images" in out


def test_a_version_that_is_not_there_is_named(call, run: FinishedRun) -> None:  # type: ignore[no-untyped-def]
    code, _, err = call("evaluate", "--version", "v9-000000", "--dataset", run.snapshot.hash)
    assert (code, "There is no version 'v9-000000'" in err) == (4, True)


# The report ----------------------------------------------------------------------------------------------------------


def test_the_report_is_text(call, run: FinishedRun) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = call("report", run.version.version)
    assert code == 0
    assert out.startswith(f"{run.version.version} (")


def test_the_report_goes_to_standard_output(call, run: FinishedRun) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = call("report", run.version.version, "--html")
    assert (code, out.startswith("<!doctype html>"), out.endswith("</html>\n")) == (0, True, True)


def test_the_report_goes_to_a_file(call, run: FinishedRun) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = call("report", run.version.version, "--html", "--out", "report.html")
    assert (code, out) == (0, "The report is in report.html.\n")
    assert Path("report.html").read_text().startswith("<!doctype html>")


def test_a_file_that_cannot_be_written_is_named(call, run: FinishedRun) -> None:  # type: ignore[no-untyped-def]
    code, _, err = call("report", run.version.version, "--out", "nowhere/report.txt")
    assert (code, "nowhere/report.txt cannot be written: No such file" in err) == (1, True)


def test_what_the_report_is_made_of_has_a_checksum(run: FinishedRun) -> None:
    listed = read_manifest(run.version.path)["files"]
    assert {"README.md", "comparison.json", "training_log.csv", "evaluations.jsonl"} <= listed.keys()
    verify_files(run.version.path)
