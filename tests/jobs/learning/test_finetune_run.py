"""The parts of a run that need no Label Studio: what it learns from, and training in one process or in several."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.support.runs import begun
from tests.support.versions import COLOURS, FinishedRun

from captionloop.errors import RunCancelled, RunError
from captionloop.home import Home, write_json
from captionloop.jobs.context import Context
from captionloop.jobs.learning.finetune_run import _FinetuneRun, _Plan, _Reporter, _training
from captionloop.jobs.learning.inputs import learnt_by
from captionloop.jobs.queue.attempt import Attempt
from captionloop.model.blip.checkpoint import load_checkpoint
from captionloop.model.captions.example import Example
from captionloop.model.database import RunKind
from captionloop.model.dataset.split import split_images
from captionloop.model.evaluation.comparison_file import COMPARISON, read_comparison
from captionloop.model.finetuning.finetuning import Trained
from captionloop.model.finetuning.training_set import training_set
from captionloop.model.training.settings import FinetuneSettings
from captionloop.settings import Settings


@pytest.fixture
def context_of(home: Home, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Context]]:
    with ExitStack() as opened:

        def open_with(**variables: str) -> Context:
            for name, value in {"REDIS_URL": redis_url, "CAPTIONLOOP_HOME": str(home.root), **variables}.items():
                monkeypatch.setenv(name, value)  # where other processes find it
            return opened.enter_context(closing(Context.open(Settings.read())))

        yield open_with


def plan(run: FinishedRun, *, champion: str) -> _Plan:
    return _Plan(run.snapshot, run.store.get(run.project.id, champion))


def examples(finished: FinishedRun, context: Context, champion: str, settings: FinetuneSettings) -> list[Example]:
    """What a run learns from that starts at this version."""
    learnt, images = learnt_by(context, finished.store.get(finished.project.id, champion)), finished.snapshot.split()
    return training_set(finished.snapshot, set(images.train), settings, champion=champion, learnt=learnt)


def test_the_first_run_learns_from_all_whatever_is_replayed(
    finished: FinishedRun, context_of: Callable[..., Context]
) -> None:
    found = examples(finished, context_of(), finished.base.name, FinetuneSettings(replay=0))
    assert {example.image for example in found} == set(
        split_images(example.image for example in finished.snapshot.examples).train
    )


@pytest.mark.parametrize("replay", [0.25, 0.5, 1.0])
def test_a_later_run_learns_from_a_share_of_what_its_champion_has_learnt_from(
    finished: FinishedRun, context_of: Callable[..., Context], replay: float
) -> None:
    found = examples(finished, context_of(), finished.version.version, FinetuneSettings(replay=replay))
    assert len(found) == round(replay * (len(COLOURS) - len(finished.held_out)))
    assert not {example.image for example in found} & set(finished.held_out)


def test_a_run_without_new_or_replayed_corrections_is_an_error(
    finished: FinishedRun, context_of: Callable[..., Context]
) -> None:
    later = finished.version.version
    with pytest.raises(RunError, match=rf"No correction is new since {finished.version.version} learnt, and replay=0"):
        examples(finished, context_of(), later, FinetuneSettings(replay=0))


def with_snapshot(finished: FinishedRun, context: Context) -> Attempt:
    """A run that has taken its snapshot."""
    attempt = begun(context.queue.runs, finished.project.id, RunKind.FINETUNE)
    directory = context.home.attempt(attempt.run.id, attempt.number)
    write_json(directory / "plan.json", plan(finished, champion=finished.base.name).identity)
    return attempt


def prepared(finished: FinishedRun, context: Context, attempt: Attempt, **settings: Any) -> _FinetuneRun:
    of = plan(finished, champion=finished.base.name)
    chosen = FinetuneSettings(batch_size=4, **settings)
    return _FinetuneRun(context, attempt, of, _training(context, attempt, of, chosen, _Reporter(attempt)))


def trained(finished: FinishedRun, context: Context, attempt: Attempt, **settings: Any) -> Trained:
    """A run as far as its training, in as many processes as the context says."""
    return prepared(finished, context, attempt, **settings).train()


def test_a_run_leaves_a_version_that_was_compared_with_the_champion(
    finished: FinishedRun, context_of: Callable[..., Context]
) -> None:
    context = context_of()
    attempt = with_snapshot(finished, context)

    made = prepared(finished, context, attempt, steps=4, validation_share=0).make_version()

    version = context.versions.get(finished.project.id, made)
    assert version.parent == finished.base.name
    comparison = read_comparison(version.path / COMPARISON)
    assert comparison is not None
    assert {image.image for image in comparison.images} == set(finished.held_out)
    run = context.queue.runs.get(attempt.run.id)
    assert run is not None
    assert run.version == made  # where a second attempt finds it


def test_a_run_on_captions_in_another_language_leaves_a_version_that_writes_them(
    finished: FinishedRun, context_of: Callable[..., Context]
) -> None:
    context = context_of()
    by_heart = {"steps": 300, "learning_rate": 1e-2, "dropout": 0.0, "label_smoothing": 0.0, "validation_share": 0.0}
    run = prepared(finished, context, with_snapshot(finished, context), **by_heart)
    wanted = "Ein Bild, das ganz weiß und schön groß ist."
    examples = tuple(replace(example, caption=wanted) for example in finished.snapshot.examples)
    in_german = replace(run.training, snapshot=replace(finished.snapshot, examples=examples))

    made = replace(run, training=in_german).make_version()

    captioner = context.captioner(context.versions.get(finished.project.id, made))
    assert set(context.pictures.captions(captioner, list(finished.held_out)).values()) == {wanted}
    before, after = load_checkpoint(finished.base.source), captioner.checkpoint
    assert len(after.tokenizer) == after.model.config.text_config.vocab_size
    assert after.model.config.text_config.vocab_size > before.model.config.text_config.vocab_size


@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", ["decoder", "lora"])
def test_training_leaves_model_and_log_in_the_runs_directory(
    finished: FinishedRun, context_of: Callable[..., Context], processes: str, way: str
) -> None:
    context = context_of(CAPTIONLOOP_PROCESSES=processes)
    attempt = with_snapshot(finished, context)
    found = trained(finished, context, attempt, way=way, steps=6, validation_share=0.2, patience=99)

    files = context.home.attempt(attempt.run.id, attempt.number) / "version"
    assert (found.steps, found.settings["steps"], found.settings["way"]) == (6, 6, way)
    assert load_checkpoint(files).model.dtype == torch.float32
    assert (files / "adapter").exists() == (way == "lora")
    assert len((files / "training_log.csv").read_text().splitlines()) == 1 + 6
    assert json.loads((files / "evaluations.jsonl").read_text().splitlines()[0])["images"] == "validation"
    told = context.queue.runs.get(attempt.run.id)
    assert told is not None
    assert (told.detail["stage"], told.detail["step"]) == ("training", 6)


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_cancel_during_training_ends_all_processes(
    finished: FinishedRun, context_of: Callable[..., Context], processes: str
) -> None:
    context = context_of(CAPTIONLOOP_PROCESSES=processes)
    attempt = with_snapshot(finished, context)
    context.queue.runs.cancel(attempt.run.id)
    with pytest.raises(RunCancelled, match="cancelled at step"):
        trained(finished, context, attempt, way="full", steps=100_000)
