"""Models that a command names: directories, hub ids and "starter", without any project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captionloop.backend.commands.shared import print_bad_row
from captionloop.backend.terminal.output import print_line
from captionloop.home import Home
from captionloop.model.blip.model_source import local_directory
from captionloop.model.exchange.evaluation_set import EvaluationSet, open_evaluation_set
from captionloop.model.exchange.reading import SplitName

if TYPE_CHECKING:
    from captionloop.settings import Settings


def is_model(name: str) -> bool:
    """Whether a name stands for a model, and not for a version of a project."""
    return local_directory(name) is not None or "/" in name


def open_dataset(
    dataset: str,
    models: Sequence[str],
    settings: Settings,
    *,
    images: Path | None,
    split: SplitName | None,
    by_line: bool,
    style: str | None = None,
    served: str | None = None,
) -> EvaluationSet:
    """What models are to caption. Rows that cannot be used are named on standard error.

    Unless a split is asked for, no image of a dataset in files is among it that one of them was trained on, as far as
    their directories say.

    Args:
        style, served: as in `open_evaluation_set`.

    Raises:
        NotFoundError: there is no such dataset, no image is left, or a snapshot has no captions in the style.
        CaptionFileError: the dataset is not what it should be, or no row of it can be used.
    """
    chosen = open_evaluation_set(
        dataset,
        home=Home(settings.home),
        limits=settings.image_limits,
        on_bad=print_bad_row,
        images=images,
        split=split,
        by_line=by_line,
        style=style,
        served=served,
    )
    if split is not None or chosen.has_hashes:
        return chosen
    from captionloop.model.finetuning.folder_training import trained_on

    seen = frozenset[str]().union(*(trained_on(model) for model in models))
    kept = chosen.without(seen, limits=settings.image_limits)
    if left := len(chosen.pictures) - len(kept.pictures):
        print_line(
            f"{left} images are left out, since a model was trained on them (--split all: all images).", err=True
        )
    return kept
