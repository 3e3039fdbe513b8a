"""The report as one self-contained HTML file, without script."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from captionloop.backend.report_page.caption_line import CaptionLine
from captionloop.backend.report_page.figures import figure_rows, figure_title
from captionloop.backend.report_page.plots import curve, reliability_diagram
from captionloop.backend.report_page.thumbnail import thumbnail_url
from captionloop.errors import ImageError
from captionloop.model.dataset.images import open_image
from captionloop.model.evaluation.comparison_file import ComparedImage
from captionloop.model.metrics.scores import counting_notes
from captionloop.model.versions.report import Report
from captionloop.model.versions.store import VersionInfo

# The curves of the evaluations, if the run measured them.
_DRAWN_METRICS = ("score", "cider_d", "bleu_4", "exact_match", "word_edit_rate", "loss")


@dataclass(frozen=True)
class _Example:
    picture: str | None  # data: address
    image: str
    references: Sequence[str]
    lines: Sequence[CaptionLine]


@dataclass(frozen=True)
class _Plot:
    title: str
    svg: Markup


@dataclass(frozen=True)
class _Words:
    """What the page says of where the model comes from.

    Args:
        origin: a sentence.
        against: the heading of the figures.
        command: which makes this page.
        examples: what it was trained on.
        has_state: whether a project, or a comparison with its base, has given it a state.
        has_training: whether the page tells of the training.
    """

    origin: str
    against: str
    command: str
    examples: str = "corrections"
    has_state: bool = True
    has_training: bool = True


def report_html(report: Report) -> str:
    """The page of a project's version. All texts of people and models are escaped by the template engine."""
    version = report.version
    origin = (
        f"from {version.parent}, on {version.corrections} corrections"
        if version.parent
        else "a base that projects start from"
    )
    separator = " " if version.parent else ": "
    words = _Words(
        origin=f"Made {_made(version)}{separator}{origin}.",
        against=_against(report, ", the champion of the time,"),
        command=f"captionloop report {version.version} --html",
    )
    return _rendered(report, words)


def training_html(report: Report) -> str:
    """The page of a model that `captionloop train` made."""
    version = report.version
    words = _Words(
        origin=f"Made {_made(version)} from {version.parent}, on {version.corrections} captions.",
        against=_against(report, ", from which it was made,"),
        command="captionloop train",
        examples="captions",
        has_state=False,
    )
    return _rendered(report, words)


def comparison_html(report: Report, *, dataset: str) -> str:
    """The page of a comparison of any two models.

    Args:
        report: of the second one.
        dataset: the name of what they captioned.
    """
    words = _Words(
        origin=f"Compared on {dataset}.",
        against=_against(report, "", images="image"),
        command="captionloop compare",
        has_state=False,
        has_training=False,
    )
    return _rendered(report, words)


def _made(version: VersionInfo) -> str:
    return version.created_at.astimezone().strftime("%-d %B %Y, %H:%M")


def _against(report: Report, role: str, *, images: str = "held-out image") -> str:
    if report.comparison is None:
        return ""
    count = len(report.comparison.images)
    said = f"Against {report.comparison.champion}{role} on {count} {images}{'' if count == 1 else 's'}"
    return f"{said} {report.comparison.in_style}".rstrip()


def _rendered(report: Report, words: _Words) -> str:
    """The HTML. All texts of people and models are escaped by the template engine."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    version, comparison = report.version, report.comparison
    return environment.get_template("report.html").render(
        version=version,
        words=words,
        champion=comparison.champion if comparison else None,
        figures=figure_rows(comparison.figures) if comparison else [],
        notes=counting_notes(text for image in comparison.images for text in image.references) if comparison else [],
        groups=[
            (group.title, [_example(image, report, comparison.champion) for image in group.images])
            for group in report.examples
            if comparison
        ],
        plots=_plots(report),
        chances=report.chances,
        reliability=_reliability(report),
        samples=_samples(report),
        dataset=report.dataset,
        snapshot=report.manifest.get("snapshot"),
        new_tokens=report.manifest.get("new_tokens"),
        settings=_flat(report.manifest.get("settings") or {}),
        generation=_flat(report.manifest.get("generation") or {}),
        files=sorted(dict(report.manifest.get("files") or {}).items()),
    )


def _example(image: ComparedImage, report: Report, champion: str) -> _Example:
    return _Example(
        picture=_thumbnail(report.picture, image.image),
        image=image.image,
        references=image.references,
        lines=[
            CaptionLine.of(champion, image.champion, image.references),
            CaptionLine.of(report.version.version, image.candidate, image.references),
        ],
    )


def _thumbnail(read: Callable[[str], bytes], image: str) -> str | None:
    """The picture as a `data:` URL; None if it is missing or cannot be read, which the page says."""
    try:
        picture = open_image(read(image))
    except (OSError, ImageError):
        return None
    return thumbnail_url(picture)


def _plots(report: Report) -> list[_Plot]:
    log = report.log
    plots = []
    for column, title, smooth in (("loss", "Training loss", True), ("learning_rate", "Learning rate", False)):
        values = log.get(column, ())
        if len(values) > 1 and not any(map(math.isnan, values)):
            plots.append(_plot(title, log["step"], values, smooth=smooth))
    for metric in _DRAWN_METRICS:
        points = [
            (point.step, point.metrics[metric])
            for point in report.evaluations
            if point.images == "validation" and metric in point.metrics
        ]
        if points:
            steps, values = zip(*points, strict=True)
            plots.append(_plot(f"Validation: {figure_title(metric)}", steps, values, smooth=False))
    return plots


def _reliability(report: Report) -> list[_Plot]:
    """The reliability diagrams of raw score and calibrated probability."""
    chances = report.chances
    drawn = (("The score", chances.raw), ("The calibrated chance", chances.calibrated)) if chances else ()
    return [
        _Plot(
            f"{title}: expected calibration error {found.error:.2f}",
            Markup(reliability_diagram(found, name=f"{title} against what people left unchanged")),  # noqa: S704
        )
        for title, found in drawn
        if found is not None
    ]


def _plot(title: str, steps: Sequence[float], values: Sequence[float], *, smooth: bool) -> _Plot:
    return _Plot(title, Markup(curve(steps, values, name=title, smooth=smooth)))  # noqa: S704 (drawn here, from numbers)


def _samples(report: Report) -> list[Mapping[str, Any]]:
    """For each sample image its caption at each evaluation."""
    samples = {sample.image: sample for point in report.evaluations for sample in point.samples}
    return [
        {
            "picture": _thumbnail(report.picture, sample.image),
            "references": sample.references,
            "written": [
                (point.step, other.caption)
                for point in report.evaluations
                for other in point.samples
                if other.image == sample.image
            ],
        }
        for sample in samples.values()
    ]


def _flat(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings as pairs of texts; nested ones get both names, and empty collections are left out."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs += [(f"{name}.{inner}", text) for inner, text in _flat(value)]
        elif value not in (None, "", []):
            pairs.append((name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return pairs
