"""`captionloop sweep` and its plot, as they are called; the trials are done by the tests."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.support.models import add_project
from tests.support.sweeps import DEFAULT, SPACE, do_trial, request_sweep

from captionloop.backend.cli import main
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.jobs.queue.runs import Runs
from captionloop.jobs.queue.sweeps import Sweeps
from captionloop.model.database import Database, Project, RunState, Sweep
from captionloop.model.sweep.trials import Trials

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


@pytest.fixture
def queue(database: Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.setenv("REDIS_URL", redis_url)
    opened = Queue(redis_url, Runs(database), Sweeps(database, tmp_path / "runs"))
    yield opened
    opened.close()


@pytest.fixture
def sweep(queue: Queue, database: Database, project: Project) -> Sweep:
    """A sweep of six trials: three finished, one pruned, one failed, one waits."""
    made = request_sweep(queue, database, project, trials=6)
    with Trials.opened(database, made.id) as trials:
        for number, score in enumerate([3.0, 5.0, 4.0]):
            do_trial(trials, number, score)
        pruned, failed = trials.take(3, SPACE), trials.take(4, SPACE)
        assert pruned is not None
        assert failed is not None
        pruned.report(50, 1.0)
        pruned.prune()
        failed.fail("The loss is nan at step 3.")
    return made


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run_command


def asked(call: Call, *arguments: str) -> Any:
    code, out, err = call(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.usefixtures("sweep")
def test_the_table_has_the_best_first(call: Call) -> None:
    _, out, _ = call("sweep", "show")

    rows = [line.split() for line in out.splitlines() if line[:1].isdigit()]
    assert [row[0] for row in rows] == ["1", "2", "0", "3", "4"]
    assert rows[2][2:] == ["decoder", "0.001", "cosine", "3.00", "±", "0.10", "0", "default"]
    assert "1.00 at 50 %" in out
    assert "The loss is nan at step 3." in out


def test_how_a_sweep_stands_is_told_as_data(call: Call, sweep: Sweep) -> None:
    shown = asked(call, "sweep", "show", sweep.name)

    assert shown["counts"] == {"finished": 3, "pruned": 1, "failed": 1, "waiting": 1}
    assert shown["best"]["number"] == 1
    assert shown["trials"][0] | {"seconds": None} == {
        "number": 0, "state": "finished", **DEFAULT, "score": 3.0, "standard_error": 0.1, "interval": [2.8, 3.2],
        "seconds": None, "is_default": True, "reason": "",
        "validations": [{"percent": percent, "score": 3.0} for percent in (20, 50, 60)],
    }  # fmt: skip


def test_status_tells_of_a_sweep_that_goes_on(call: Call, sweep: Sweep) -> None:
    shown = asked(call, "status")["sweep"]

    assert (shown["name"], shown["counts"]["waiting"], shown["best"]["number"]) == (sweep.name, 1, 1)


def test_a_cancelled_sweep_leaves_settings_that_are_listed(call: Call, sweep: Sweep) -> None:
    assert asked(call, "sweep", "cancel")["state"] == RunState.CANCELLED.value

    listed = asked(call, "sweep", "list")
    assert [row["name"] for row in listed["sweeps"]] == [sweep.name]
    assert [(row["name"], row["settings"]["steps"]) for row in listed["settings"]] == [(sweep.name, 7)]
    assert "trial 1 of the sweep" in listed["settings"][0]["origin"]


@pytest.mark.usefixtures("sweep")
def test_a_run_takes_settings_by_their_name(call: Call, queue: Queue) -> None:
    call("sweep", "cancel")

    run = asked(call, "finetune", "--settings", "sweep-1", "--set", "steps=9")

    queued = queue.runs.get(run["id"])
    assert queued is not None
    assert queued.settings == {"settings": "sweep-1", "steps": 9}


@pytest.mark.usefixtures("queue", "project")
def test_a_run_with_settings_of_an_unknown_name_is_refused(call: Call) -> None:
    code, _, err = call("finetune", "--settings", "hasty")

    assert (code, "knows no settings of the name 'hasty'" in err) == (4, True)


@pytest.mark.usefixtures("queue", "project")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--ways", "sideways"], 2, "ways to search are sideways"),
        (["--rates", "1e-2", "1e-3"], 2, "learning rates to search are 0.01 to 0.001"),
        (["--set", "way=lora"], 2, "--ways, --schedules and --rates say among what"),
        (["--plot", "sweep.svg"], 2, "--plot needs --wait"),
        (["--wait", "--plot", "sweep.txt"], 2, "expected a name that ends in .svg, .png, .pdf"),
        (["--trials", "9", "list"], 2, "goes behind it"),
        (["show"], 4, "no sweep yet"),
        (["show", "careful"], 4, "no sweep 'careful' in this project. It has: none yet"),
    ],
)
def test_a_sweep_that_cannot_be_done_is_refused_at_once_with_its_reason(
    call: Call, arguments: list[str], code: int, message: str
) -> None:
    ended, _, err = call("sweep", *arguments)

    assert (ended, message in err) == (code, True), err


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("form", ["svg", "png", "pdf"])
def test_a_sweep_is_drawn(call: Call, form: str, tmp_path: Path) -> None:
    path = tmp_path / f"sweep.{form}"

    assert call("sweep", "show", "--plot", str(path))[0] == 0

    if form == "svg":
        text = path.read_text()
        assert all(part in text for part in ("best: trial 1", "default", "not finished: its last look", "decoder"))
    elif form == "png":
        with Image.open(path) as picture:
            assert picture.width > 1000
    else:
        assert path.read_bytes().startswith(b"%PDF")


def test_a_sweep_without_any_score_is_drawn_as_well(
    call: Call, queue: Queue, database: Database, project: Project, tmp_path: Path
) -> None:
    request_sweep(queue, database, project)

    assert call("sweep", "show", "--plot", str(tmp_path / "sweep.svg"))[0] == 0
