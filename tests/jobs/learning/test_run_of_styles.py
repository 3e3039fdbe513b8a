"""A run on corrections in two styles: the version knows both, writes the project's, and is judged in each."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.jobs.learning.test_finetune_run import context_of, prepared, with_snapshot
from tests.support.versions import FinishedRun

from captionloop.errors import RunError
from captionloop.jobs.context import Context
from captionloop.jobs.learning.finetune_run import _FinetuneRun
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.evaluation.comparison_file import COMPARISON, read_comparison

__all__ = ["context_of"]

OLD, NEW = "A picture of a wall", "Illustration: One Wall, nothing else"
BY_HEART: dict[str, Any] = {
    "steps": 300, "learning_rate": 1e-2, "dropout": 0.0, "label_smoothing": 0.0, "validation_share": 0.0
}  # fmt: skip


def in_two_styles(snapshot: Snapshot) -> Snapshot:
    """Each picture with a caption in the style without a name, and one in the style "new"."""
    old = [replace(example, caption=OLD) for example in snapshot.examples]
    new = [replace(example, caption=NEW, style="new") for example in snapshot.examples]
    return replace(snapshot, examples=(*old, *new))


def run_of(finished: FinishedRun, context: Context, snapshot: Snapshot, **training: Any) -> _FinetuneRun:
    run = prepared(finished, context, with_snapshot(finished, context), **BY_HEART)
    return replace(run, training=replace(run.training, snapshot=snapshot, **training))


@pytest.mark.slow
def test_a_version_knows_both_styles_and_writes_the_current_one(
    finished: FinishedRun, context_of: Callable[..., Context]
) -> None:
    context = context_of()
    run = run_of(finished, context, in_two_styles(finished.snapshot), style="new", open_styles=(None, "new"))

    version = context.versions.get(finished.project.id, run.make_version())

    captioner, images = context.captioner(version), list(finished.held_out)
    assert version.generation.style == "new"
    assert set(context.pictures.captions(captioner, images).values()) == {NEW}
    assert set(context.pictures.captions(captioner.in_style(None), images).values()) == {OLD}
    comparison = read_comparison(version.path / COMPARISON)
    assert comparison is not None
    assert {image.references for image in comparison.images} == {(NEW,)}
    assert {image.candidate.caption for image in comparison.images} == {NEW}
    (earlier,) = version.metrics["gate"]["earlier_styles"]
    assert (earlier["style"], earlier["exactly_right"][1]) == (None, len(images))
    assert "Earlier styles: in the style without a name" in version.reason


@pytest.mark.slow
def test_a_style_that_nobody_has_written_in_yet_is_not_served(
    finished: FinishedRun, context_of: Callable[..., Context]
) -> None:
    context = context_of()
    run = run_of(finished, context, finished.snapshot, style="just begun", open_styles=(None, "just begun"))
    assert run.training.styles.served is None
    version = context.versions.get(finished.project.id, replace(
        run, training=replace(run.training, settings=replace(run.training.settings, steps=4))
    ).make_version())  # fmt: skip
    assert {"styles", "style"}.isdisjoint(version.generation.to_dict())
    assert "earlier_styles" not in version.metrics["gate"]


def test_a_style_of_which_nothing_is_held_out_is_an_error_before_anything_is_trained(
    finished: FinishedRun, context_of: Callable[..., Context]
) -> None:
    context = context_of()
    first = finished.snapshot.split().train[0]
    examples = tuple(
        replace(example, style="new") if example.image == first else example for example in finished.snapshot.examples
    )
    run = run_of(finished, context, replace(finished.snapshot, examples=examples), style="new")
    with pytest.raises(RunError, match="None of the 1 images with captions in the style 'new' is held out"):
        run.train()


def test_a_style_that_the_champion_knows_keeps_its_token(
    finished: FinishedRun, context_of: Callable[..., Context]
) -> None:
    context = context_of()
    run = run_of(finished, context, in_two_styles(finished.snapshot), style="new")
    assert run.training.styles.tokens == {"new": "[style1]"}
    assert {example.style for example in run.training.examples()[0]} == {None, "new"}
