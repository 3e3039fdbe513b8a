"""`captionloop evaluate`: captioning with progress, and results as text and JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionloop import printable
from captionloop.backend.report_page.figures import figure_rows
from captionloop.backend.terminal.files import write_text_file
from captionloop.backend.terminal.progress import Progress
from captionloop.backend.terminal.table import table
from captionloop.image_limits import ImageLimits
from captionloop.model.exchange.evaluation_set import EvaluationSet
from captionloop.model.exchange.references import to_coco_results
from captionloop.model.metrics import Difference, Differences, Evaluation

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import Captioner


def caption_set(captioner: "Captioner", chosen: EvaluationSet, limits: ImageLimits) -> dict[str, str]:
    """Image id → the captioner's caption; with progress on stderr."""
    with Progress(f"Captioning with {captioner.version}") as progress:
        return chosen.caption(captioner, limits=limits, on_progress=progress.update)


def evaluation_text(figures: Mapping[str, float | int]) -> str:
    """The metrics of a set of captions, a line each."""
    width = max(map(len, figures))
    return "\n".join(
        f"{name.ljust(width)}  {value:.4f}" if isinstance(value, float) else f"{name.ljust(width)}  {value}"
        for name, value in figures.items()
    )


def differences_data(found: Differences) -> dict[str, Any]:
    """The difference in each metric, ready for JSON."""
    return {
        name: {"difference": figure.difference, "interval": list(figure.interval), "p_value": figure.p_value}
        for name, figure in found.figures.items()
    }


def differences_text(found: Differences, *, first: str, second: str) -> str:
    """Both versions' metrics side by side, with the difference, its interval and p-value."""
    compared = figures_text(found.figures, first=first, second=second, images=found.second.images)
    return "\n".join([compared, *found.second.notes])


def figures_text(figures: Mapping[str, Difference], *, first: str, second: str, images: int) -> str:
    """The same from the figures alone."""
    titles = ("", printable.one_line(first), printable.one_line(second), "difference", "95 % interval", "p", "")
    based_on = f"On {images} images; 2,000 paired bootstrap resamples."
    return "\n".join([table(titles, [row.cells for row in figure_rows(figures)], figures=True), based_on])


def per_image_data(evaluation: Evaluation, captions: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Image id → its caption and metrics."""
    return {
        image: {
            "caption": captions[image],
            **{name: value for name, value in asdict(scores).items() if value is not None},
            "word_edit_rate": scores.word_edit_rate,
        }
        for image, scores in evaluation.per_image.items()
    }


def write_json_file(path: Path, value: Any) -> None:
    """`write_text_file` for JSON."""
    write_text_file(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_coco_results(path: Path, captions: Mapping[str, str]) -> None:
    """Write captions in the format of COCO's evaluation server. Errors as in `write_text_file`."""
    write_json_file(path, to_coco_results(captions))
