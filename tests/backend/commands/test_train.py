"""`captionloop train`: the model of a run through the worker, without any service; stopped and killed at any moment."""

import base64
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from tests.support.forked import ForkedProcess
from tests.support.models import add_project
from tests.support.odd_pictures import save_as_it_comes
from tests.support.runs import begun
from tests.support.service import caption_service, client_of, predict

from captionloop.backend.cli import cli, main
from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.jobs.context import Context
from captionloop.jobs.learning.finetune_run import _FinetuneRun, _Plan, _Reporter, _training
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import Database, RunKind
from captionloop.model.dataset import corrections
from captionloop.model.exchange.importing import find_source, import_dataset
from captionloop.model.finetuning.folder_training import trained_on
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import draw
from captionloop.model.starter.styles import STYLES
from captionloop.model.training import loop
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.versions.manifest import read_manifest
from captionloop.settings import Settings

STEPS = 16
SETTINGS = {"steps": STEPS, "batch_size": 4, "validation_share": 0.2, "patience": 99}
SET = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with sidecars, of all kinds that cameras and programs write, two of which look alike."""
    directory = tmp_path_factory.mktemp("data") / "photos"
    directory.mkdir()
    for number in range(24):
        scene, seed = example("folder", number)
        save_as_it_comes(draw(scene, seed=seed), directory / f"{number:02}", number)
        (directory / f"{number:02}.txt").write_text(f"{STYLES['new_words'](scene).capitalize()}.\n")
    scene, seed = example("folder", 5)
    draw(scene, seed=seed).save(directory / "05-again.jpg", quality=90)
    (directory / "05-again.txt").write_text("The fifth once more.")
    return directory


def train(*arguments: Path | str) -> Result:
    return CliRunner().invoke(cli, ["train", *map(str, arguments)])


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


def are_equal(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def unbroken(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that a training without interruption ends with."""
    out = tmp_path_factory.mktemp("unbroken") / "blip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONLOOP_HOME", str(out.parent / "home"))
        done = train(photos, "--out", out, *SET)
    assert done.exit_code == 0, done.output
    return out


class TestWhatItEndsWith:
    def test_the_weights_are_those_of_a_run_through_the_job(
        self, unbroken: Path, photos: Path, database: Database, home: Home, redis_url: str
    ) -> None:
        project = add_project(database)
        import_dataset(
            find_source(photos), project.id, database=database, home=home, limits=ImageLimits(),
            on_bad=lambda row: pytest.fail(row.reason), on_progress=lambda share: None,
        )  # fmt: skip
        with closing(Context.open(Settings.read({"REDIS_URL": redis_url, "CAPTIONLOOP_HOME": str(home.root)}))) as of:
            of.versions.ensure_champion(project.id, of.base)
            with database.session() as session:
                snapshot = corrections.snapshot(session, project.id, home)
            attempt = begun(of.queue.runs, project.id, RunKind.FINETUNE)
            plan, settings = _Plan(snapshot, of.versions.champion(project.id)), FinetuneSettings.from_dict(SETTINGS)
            training = _training(of, attempt, plan, settings, _Reporter(attempt))
            made = _FinetuneRun(of, attempt, plan, training).make_version()
            version = of.versions.get(project.id, made)

        assert are_equal(unbroken, version.path)
        manifest = json.loads((unbroken / "captionloop.json").read_text())
        assert manifest["snapshot"] == snapshot.hash  # so the examples and the split are the same
        assert manifest["settings"] == read_manifest(version.path)["settings"]  # those that were derived, and the seed
        assert manifest["metrics"] == version.metrics
        assert (unbroken / "comparison.json").read_text() == (version.path / "comparison.json").read_text()

    def test_the_directory_is_a_model_with_all_that_tells_of_it(self, unbroken: Path) -> None:
        from transformers import BlipForConditionalGeneration, BlipProcessor

        BlipForConditionalGeneration.from_pretrained(unbroken)
        BlipProcessor.from_pretrained(unbroken)
        there = {path.name for path in unbroken.iterdir()}
        assert {"README.md", "report.html", "training_log.csv", "evaluations.jsonl", "comparison.json"} <= there
        assert not [name for name in there if name.startswith(".")]
        assert len((unbroken / "training_log.csv").read_text().splitlines()) == 1 + STEPS
        report = (unbroken / "report.html").read_text()
        assert report.count("data:image/jpeg") >= 4
        assert "no longer there" not in report

    def test_near_duplicates_are_on_one_side(self, unbroken: Path, photos: Path) -> None:
        from captionloop.model.dataset.images import content_hash

        trained = trained_on(str(unbroken))
        alike = [content_hash((photos / name).read_bytes()) in trained for name in ("05.png", "05-again.jpg")]
        assert len(set(alike)) == 1

    def test_it_captions_as_people_write(self, unbroken: Path, photos: Path) -> None:
        done = CliRunner().invoke(cli, ["caption", str(photos / "00.png"), "--model", str(unbroken), "--json"])
        (found,) = json.loads(done.stdout)
        assert found["model_version"].startswith("blip-")
        assert found["caption"][0].isupper()

    def test_what_is_served_from_it_writes_as_it_does(self, unbroken: Path, redis_url: str) -> None:
        settings = Settings.read({"REDIS_URL": redis_url, "CAPTIONLOOP_MODEL": str(unbroken)})
        with closing(Context.open(settings)) as context:
            generation = json.loads((unbroken / "captionloop.json").read_text())["generation"]
            assert context.base.generation == GenerationSettings.from_dict(generation)
            assert context.base.generation.writing != GenerationSettings().writing

    def test_label_studio_gets_its_captions(
        self, unbroken: Path, photos: Path, database: Database, redis_url: str, tmp_path: Path
    ) -> None:
        add_project(database, 7)
        picture = photos / "01.png"
        done = CliRunner().invoke(cli, ["caption", str(picture), "--model", str(unbroken), "--json"])
        with closing(Context.open(Settings.read({"REDIS_URL": redis_url, "CAPTIONLOOP_MODEL": str(unbroken)}))) as of:
            base = of.base
        data = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"

        with caption_service(database, redis_url, tmp_path, base) as service:
            (suggested,) = predict(client_of(service), data)

        assert suggested["result"][0]["value"]["text"] == [json.loads(done.stdout)[0]["caption"]]

    def test_asked_again_it_says_the_same(self, unbroken: Path, photos: Path) -> None:
        again = train(photos, "--out", unbroken, "--resume")
        assert again.exit_code == 0
        assert "CIDEr-D" in again.stdout
        assert f"captionloop up --model {unbroken}" in again.stdout


class TestWhatIsRefused:
    def test_a_directory_that_is_not_empty(self, unbroken: Path, photos: Path) -> None:
        done = CliRunner().invoke(cli, ["train", str(photos), "--out", str(unbroken)])
        assert "not empty" in str(done.exception)

    def test_a_directory_within_the_dataset(self, photos: Path) -> None:
        done = train(photos, "--out", photos / "blip")
        assert "--out" in str(done.exception)
        assert not (photos / "blip").exists()

    def test_an_unknown_setting_before_anything_is_read(self, photos: Path, tmp_path: Path) -> None:
        assert "no_such" in str(train(photos, "--out", tmp_path / "blip", "--set", "no_such=1").exception)

    def test_too_few_pictures(self, photos: Path, tmp_path: Path) -> None:
        done = train(photos, "--out", tmp_path / "blip", "--limit", "1")
        assert "at least two" in str(done.exception)

    def test_a_bad_model_is_in_nobodys_way(self, photos: Path, tmp_path: Path) -> None:
        done = train(photos, "--out", tmp_path / "blip", "--model", tmp_path / "nowhere")
        assert "no model directory" in str(done.exception)
        assert train(photos, "--out", tmp_path / "blip", "--set", "steps=1").exit_code == 0


def test_bad_rows_are_named_and_the_others_trained_on(photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in photos.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    (data / "00.png").write_bytes(b"no picture")
    (data / "alone.txt").write_text("a caption of nothing")

    done = train(data, "--set", "steps=1", "--json")

    assert done.exit_code == 6, done.output
    assert json.loads(done.stdout)["bad_rows"] == 2
    assert json.loads(done.stdout)["out"] == "data-blip"
    assert Path("data-blip", "config.json").is_file()
    assert "00.txt: The file is not an image" in done.stderr
    assert "alone.txt: There is no picture" in done.stderr


def test_a_file_of_captions_may_lie_where_the_model_goes(photos: Path) -> None:
    rows = [f"{path},{path.with_suffix('.txt').read_text().strip()}" for path in sorted(photos.glob("*.png"))[:4]]
    Path("captions.csv").write_text("\n".join(["image,caption", *rows]) + "\n")

    done = train("captions.csv", "--images", photos, "--set", "steps=1")

    assert done.exit_code == 0, done.output
    assert f"--dataset captions.csv --images {photos} --html" in done.stdout
    assert Path("captions-blip", "config.json").is_file()


def train_and_keep_each_state(*arguments: str) -> None:
    """As a process that is stopped. One of real length keeps its state every half minute."""
    loop._STATE_EVERY_S = -1.0
    main(["train", *arguments])


@pytest.fixture
def start(photos: Path, tmp_path: Path) -> Callable[[Path, Path], ForkedProcess]:
    def begin(out: Path, log: Path) -> ForkedProcess:
        arguments = (str(photos), "--out", str(out), "--resume", *SET)
        return ForkedProcess(train_and_keep_each_state, *arguments, log=log, environment=os.environ)

    return begin


def steps_done(out: Path) -> int:
    for path in (out / ".training" / "model" / "training_log.csv", out / "training_log.csv"):
        if path.exists():
            return len(path.read_text().splitlines()) - 1
    return 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_a_training_that_is_stopped_twice_ends_with_the_same_weights(
    start: Callable[[Path, Path], ForkedProcess], unbroken: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out, log = tmp_path / "blip", tmp_path / "log.txt"
    for least in (2, 6):
        log.unlink(missing_ok=True)
        with start(out, log) as process:
            while steps_done(out) < least:
                assert process.poll() is None, log.read_text()
                time.sleep(0.01)
            process.send_signal(number)
            process.wait(120)
        assert not (out / "config.json").exists()
        if number == signal.SIGINT:
            assert process.returncode == 130, log.read_text()
            assert "--resume goes on" in log.read_text()
            assert (out / ".training" / "state.safetensors").exists()

    with start(out, log) as process:
        process.wait(240)

    assert process.returncode == 0, log.read_text()
    assert are_equal(unbroken, out)
    assert len((out / "training_log.csv").read_text().splitlines()) == 1 + STEPS
