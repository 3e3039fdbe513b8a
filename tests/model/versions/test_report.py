import json
import math
from pathlib import Path

import pytest
from tests.support.versions import FinishedRun, finished_run

from captionloop.errors import CheckpointError
from captionloop.home import Home
from captionloop.model.database import Database
from captionloop.model.evaluation.comparison_file import ComparedImage, EvaluatedCaption
from captionloop.model.training.log import EVALUATIONS_FILE, STEPS_FILE
from captionloop.model.versions.report import choose_examples, read_report


def image(name: str, *, champion: str, candidate: str, edits: int) -> ComparedImage:
    def written(caption: str) -> EvaluatedCaption:
        return EvaluatedCaption(caption, cider_d=0, word_edits=edits, word_edit_rate=edits / 5, exact_match=edits == 0)

    return ComparedImage(name, ("a b c d e",), champion=written(champion), candidate=written(candidate))


def test_the_worst_come_first_then_what_changed_most() -> None:
    images = [
        image("same", champion="a b c", candidate="a b c", edits=0),
        image("changed a little", champion="a b c", candidate="a b x", edits=0),
        image("changed much", champion="a b c", candidate="x y z", edits=0),
        image("bad", champion="a", candidate="a", edits=2),
        image("worst", champion="a", candidate="a", edits=5),
    ]
    chosen = [(group.title, [each.image for each in group.images]) for group in choose_examples(images)]
    assert chosen == [
        ("Where it is worst", ["worst", "bad"]),
        ("Where most changed", ["changed much", "changed a little"]),
        ("The same as before", ["same"]),
    ]


def test_twenty_are_shown_and_not_only_the_worst() -> None:
    bad = [image(f"bad {number}", champion="a", candidate="a", edits=5) for number in range(40)]
    changed = [image(f"changed {number}", champion="a", candidate="b", edits=0) for number in range(40)]
    assert [len(group.images) for group in choose_examples([*bad, *changed])] == [10, 10]


def test_nothing_held_out_shows_nothing() -> None:
    assert choose_examples([]) == ()


def test_all_that_a_run_left_is_gathered(finished: FinishedRun, home: Home) -> None:
    report = read_report(finished.version, home)

    assert report.comparison is not None
    assert {each.image for each in report.comparison.images} == set(finished.held_out)
    assert (len(report.log["loss"]), report.log["loss"][0]) == (40, 4.0)
    assert math.isnan(report.log["memory_mib"][0])
    assert [point.step for point in report.evaluations] == [20, 40]
    assert report.evaluations[1].metrics["score"] == pytest.approx(4.4)
    assert report.dataset is not None
    assert (report.dataset.images, report.dataset.held_out_images) == (12, len(finished.held_out))
    assert (report.dataset.in_scripts, report.manifest["new_tokens"]) == ("Latin 12", 7)


def test_an_older_version_has_a_report_without_what_it_lacks(database: Database, home: Home, tmp_path: Path) -> None:
    run = finished_run(database, home, tmp_path, logs=False)
    run.snapshot.path.unlink()

    report = read_report(run.version, home)

    assert (report.comparison, report.examples, report.evaluations, report.dataset) == (None, (), (), None)
    assert report.log == {}


def test_a_base_has_a_report(finished: FinishedRun, home: Home) -> None:
    base = finished.store.get(finished.project.id, finished.base.name)
    assert read_report(base, home).comparison is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (STEPS_FILE, "step,loss\n1,much\n"),
        (STEPS_FILE, "step,loss\n1\n1,2,3\n"),
        (EVALUATIONS_FILE, "{\n"),
        (EVALUATIONS_FILE, json.dumps({"step": 1}) + "\n"),
        (EVALUATIONS_FILE, "[]\n"),
    ],
)
def test_a_damaged_log_is_named(finished: FinishedRun, home: Home, name: str, content: str) -> None:
    version = finished.version
    (version.path / name).write_text(content)
    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        read_report(version, home)
