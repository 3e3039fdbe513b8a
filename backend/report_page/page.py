"""The report as one self-contained HTML file, without script."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from captionloop.backend.report_page.caption_line import CaptionLine
from captionloop.backend.report_page.figures import figure_rows, figure_title
from captionloop.backend.report_page.plots import curve, reliability_diagram
from captionloop.errors import ImageError
from captionloop.home import Home
from captionloop.model.dataset.images import open_image
from captionloop.model.evaluation.comparison_file import ComparedImage
from captionloop.model.metrics.scores import counting_notes
from captionloop.model.versions.report import Report

_THUMBNAIL_PIXELS = 288  # longest side; shown at half of it, sharp on dense screens
_JPEG_QUALITY = 80
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


def report_html(report: Report) -> str:
    """The page. All texts of people and models are escaped by the template engine."""
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
        made=version.created_at.astimezone().strftime("%-d %B %Y, %H:%M"),
        champion=comparison.champion if comparison else None,
        held_out=len(comparison.images) if comparison else 0,
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
        settings=_flat(report.manifest.get("settings") or {}),
        generation=_flat(report.manifest.get("generation") or {}),
        files=sorted(dict(report.manifest.get("files") or {}).items()),
    )


def _example(image: ComparedImage, report: Report, champion: str) -> _Example:
    return _Example(
        picture=_thumbnail(report.home, image.image),
        image=image.image,
        references=image.references,
        lines=[
            CaptionLine.of(champion, image.champion, image.references),
            CaptionLine.of(report.version.version, image.candidate, image.references),
        ],
    )


def _thumbnail(home: Home, image: str) -> str | None:
    """The picture as a `data:` URL; None if it is missing or cannot be read, which the page says."""
    try:
        picture = open_image(home.image(image).read_bytes())
    except (OSError, ImageError):
        return None
    picture.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


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
            "picture": _thumbnail(report.home, sample.image),
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
    """Settings as pairs of texts; nested ones get both names."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            pairs += [(f"{name}.{inner}", text) for inner, text in _flat(value)]
        else:
            pairs.append((name, value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)))
    return pairs
