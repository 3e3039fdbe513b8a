"""Two models on the same pictures: their captions, their figures, and the page that shows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from captionloop.backend.report_page import comparison_html
from captionloop.image_limits import ImageLimits
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import utc_now
from captionloop.model.evaluation.comparison_file import COMPARISON, StoredComparison, read_comparison, write_comparison
from captionloop.model.exchange.evaluation_set import EvaluationSet
from captionloop.model.versions.comparisons import ordered
from captionloop.model.versions.report import ExampleGroup, Report
from captionloop.model.versions.store import VersionInfo

_MOST_SHOWN = 200


@dataclass(frozen=True)
class ComparedModels:
    """Two models by their names; in the comparison the first is the "champion"."""

    first: str
    second: str
    comparison: StoredComparison


def compared(
    first: tuple[str, Mapping[str, str]], second: tuple[str, Mapping[str, str]], chosen: EvaluationSet
) -> ComparedModels:
    """Compare two models by what they wrote.

    Args:
        first, second: a model's name, and image id → its caption of that picture.
        chosen: the pictures.
    """
    with TemporaryDirectory() as directory:
        path = Path(directory) / COMPARISON
        write_comparison(
            path,
            champion=first[0],
            references=chosen.references,
            champion_captions=first[1],
            candidate_captions=second[1],
            corpus=chosen.corpus,
        )
        comparison = read_comparison(path)
    assert comparison is not None  # it was written just now
    return ComparedModels(first[0], second[0], comparison)


def comparison_page(found: ComparedModels, chosen: EvaluationSet, limits: ImageLimits, *, dataset: str) -> str:
    """The page with the pictures, the second model's worst first."""
    images = ordered(found.comparison.images, "worst")
    shown = images[:_MOST_SHOWN]
    title = "The worst first" if shown == images else f"The {_MOST_SHOWN} worst of {len(images):,}"
    report = Report(
        version=_named(found.second),
        manifest={},
        comparison=found.comparison,
        examples=(ExampleGroup(title, tuple(shown)),),
        log={},
        evaluations=(),
        dataset=None,
        picture=lambda image: chosen.pictures[image].read(max_bytes=limits.max_bytes),
        chances=None,
    )
    return comparison_html(report, dataset=dataset)


def _named(name: str) -> VersionInfo:
    return VersionInfo(
        version=name,
        parent=None,
        state="",
        created_at=utc_now(),
        corrections=0,
        metrics={},
        path=Path(),
        reason="",
        generation=GenerationSettings(),
        snapshot=None,
        pinned=False,
        deleted_at=None,
    )
