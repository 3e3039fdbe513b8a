"""`captionloop simulate`, as it is called, with a model so small that it writes nonsense."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.model.captioning.published_layout import write_base
from tests.support.datasets import write_pictures

from captionloop.backend.cli import main

Call = Callable[..., tuple[int, str, str]]
QUICK = ("--first", "4", "--per-round", "3", "--seeds", "2", "--set", "steps=1", "--set", "batch_size=2")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["simulate", *arguments])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run_command


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_base(tmp_path_factory.mktemp("models") / "base"))


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    directory = tmp_path / "captioned"
    names = [f"{number}.png" for number in range(16)]
    write_pictures(directory, names)
    rows = [{"file_name": name, "text": f"a car number {number}"} for number, name in enumerate(names)]
    (directory / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(directory)


def test_somebodys_dataset_is_replayed_and_the_strategies_compared(call: Call, model: str, dataset: str) -> None:
    code, out, err = call(
        "--dataset", dataset, "--model", model, *QUICK, "--strategy", "random", "--strategy", "uncertainty",
        "--same-words", "uncertainty", "--json",
    )  # fmt: skip

    assert code == 0, err
    found = json.loads(out)
    assert {(p["strategy"], p["round"], p["corrections"]) for p in found["points"]} >= {
        ("random", 1, 4),
        ("random", 2, 7),
        ("uncertainty", 2, 7),
    }
    assert [(gain["strategy"], gain["against"]) for gain in found["gains"]] == [
        ("uncertainty", "random"),
        ("uncertainty", "random, with the words of uncertainty"),
    ]
    assert "seed 1, uncertainty, round 2: 7 corrections" in err


def test_the_table_and_the_picture_are_for_people(call: Call, model: str, dataset: str, tmp_path: Path) -> None:
    code, out, err = call(
        "--dataset", dataset, "--model", model, *QUICK, "--strategy", "random", "--strategy", "uncertainty_diversity",
        "--plot", str(tmp_path / "simulation.svg"),
    )  # fmt: skip

    assert code == 0, err
    assert out.splitlines()[0].split() == [
        "strategy", "round", "corrections", "words", "unchanged", "CIDEr-D", "asked,", "unchanged",
    ]  # fmt: skip
    assert "uncertainty_diversity minus random: " in out
    picture = (tmp_path / "simulation.svg").read_text(encoding="utf-8")
    assert "uncertainty × diversity" in picture
    assert "2 seeds, 95 % intervals" in picture


@pytest.mark.slow
def test_without_a_dataset_drawn_scenes_are_replayed(call: Call) -> None:
    code, out, err = call(
        "--first", "4", "--per-round", "4", "--seeds", "1", "--set", "steps=1", "--strategy", "uncertainty"
    )

    assert code == 0, err
    assert "(a single seed)" not in out  # nothing to compare with
    assert "uncertainty  2" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "entropy"], "'entropy' is none of random, uncertainty, diversity, uncertainty_diversity"),
        (["--signal", "mood"], "'mood' is none of score, token_probability"),
        (["--plot", "figures.txt"], "A plot cannot be written to figures.txt"),
        (["--set", "way=full"], "trains the image encoder"),
    ],
)
def test_a_simulation_that_cannot_be_done_is_refused_at_once_with_its_reason(
    call: Call, model: str, arguments: list[str], message: str
) -> None:
    code, _, err = call("--model", model, *arguments)

    assert code != 0
    assert message in err


def test_a_dataset_of_a_few_images_is_refused(call: Call, model: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "few", ["1.png"])
    (tmp_path / "few" / "metadata.jsonl").write_text('{"file_name": "1.png", "text": "a car"}\n', encoding="utf-8")

    code, _, err = call("--dataset", str(tmp_path / "few"), "--model", model)

    assert code != 0
    assert "The dataset has 1 images; a simulation needs at least 8." in err


def test_a_language_is_for_the_annotator_in_label_studio(call: Call) -> None:
    code, _, err = call("--language", "de")

    assert code != 0
    assert "--language belongs to --through-label-studio" in err


def test_a_style_is_one_of_a_dataset(call: Call) -> None:
    code, _, err = call("--style", "British")

    assert code != 0
    assert "--style belongs to --dataset" in err
