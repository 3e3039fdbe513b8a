"""`finetune`: `captionloop train` from Python."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, TypedDict, Unpack

from captionloop.backend.python.models import Model
from captionloop.backend.python.progress import TrainingBars
from captionloop.backend.python.stopping import ctrl_c_asks
from captionloop.backend.python.training import TrainingRequest, train_into_directory
from captionloop.errors import RunCancelled
from captionloop.model.training.settings import FinetuneSettings, Part, Schedule, Way

if TYPE_CHECKING:
    from captionloop.backend.python.datasets import Dataset

_NAME = "blip"  # of a model that was given no directory


class FinetuneOptions(TypedDict, total=False):
    """The settings of `FinetuneSettings`; docs/training.md has their defaults and the reasons for them."""

    way: Way
    learning_rate: float | None
    schedule: Schedule
    steps: int | None
    batch_size: int
    micro_batch_size: int | None
    weight_decay: float
    warmup_share: float
    layer_decay: float
    max_gradient_norm: float
    label_smoothing: float
    dropout: float
    ema: float
    validation_share: float
    patience: int
    replay: float
    augment: bool
    lora_rank: int
    lora_parts: Part
    gradient_checkpointing: bool
    prompt: str
    seed: int


def finetune(
    model: Model,
    dataset: Dataset,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    **settings: Unpack[FinetuneOptions],
) -> Model:
    """Fine-tune a BLIP on captioned pictures: on `dataset.train`, and both models are compared on `dataset.held_out`.

    The same data, model, settings and seed give the weights of `captionloop train` and of a run in a project. A bar
    shows the loss. Ctrl-C, or a notebook's stop button, ends it after the step; with `out` it can be gone on with.

    Args:
        model: the one to start from; it stays as it is.
        out: the directory to make; None: one that lasts as long as the result, whose `save` keeps it.
        resume: go on with the training in `out` that was stopped or killed; without one, begin.
        settings: `way="decoder"`, "lora" or "full"; `steps`, `learning_rate`, `schedule` and all others of
            docs/training.md.

    Raises:
        SettingsError: a setting is unknown or wrong.
        RunError: there is nothing to learn from, or training failed.
        CaptionloopError: `out` has something else in it.
        KeyboardInterrupt: it was stopped.
    """
    asked = dict(settings) if model.prompt is None else {"prompt": model.prompt, **settings}
    FinetuneSettings.from_dict(asked)
    path = Path(mkdtemp(prefix="captionloop-")) / _NAME if out is None else Path(out).expanduser()
    request = TrainingRequest(path, model.source, asked, resume=resume)
    try:
        _train(request, model, dataset)
    except BaseException:
        if out is None:
            rmtree(path.parent, ignore_errors=True)
        raise
    return Model(str(path), model.settings, temporary=out is None)


def _train(request: TrainingRequest, model: Model, dataset: Dataset) -> None:
    with ctrl_c_asks(lambda: None) as stop:
        bars = TrainingBars(stop)
        try:
            train_into_directory(request, lambda: dataset.data, model.settings, bars)
        except RunCancelled as error:
            raise KeyboardInterrupt from error
        finally:
            bars.close()
