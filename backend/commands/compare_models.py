"""`captionloop compare`: both models' captions, their figures, and the page that shows them."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from captionloop.backend.commands.evaluation_text import caption_set
from captionloop.backend.commands.models import load_model
from captionloop.backend.report_page import comparison_html
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import utc_now
from captionloop.model.evaluation.comparison_file import COMPARISON, StoredComparison, read_comparison, write_comparison
from captionloop.model.exchange.evaluation_set import EvaluationSet
from captionloop.model.versions.comparisons import ordered
from captionloop.model.versions.report import ExampleGroup, Report
from captionloop.model.versions.store import VersionInfo
from captionloop.settings import Settings

_MOST_SHOWN = 200


@dataclass(frozen=True)
class ComparedModels:
    """Two models by their names; in the comparison the first is the "champion"."""

    first: str
    second: str
    comparison: StoredComparison


def compare_models(first: str, second: str, chosen: EvaluationSet, settings: Settings) -> ComparedModels:
    """Let both caption the pictures, one model in memory at a time.

    Raises:
        CheckpointError: a model cannot be loaded.
        ImageError: a picture cannot be read.
    """
    names, written = [], []
    for source in (first, second):
        captioner = load_model(source, settings)
        names.append(captioner.version)
        written.append(caption_set(captioner, chosen, settings.image_limits))
    with TemporaryDirectory() as directory:
        path = Path(directory) / COMPARISON
        write_comparison(
            path,
            champion=names[0],
            references=chosen.references,
            champion_captions=written[0],
            candidate_captions=written[1],
            corpus=chosen.corpus,
        )
        comparison = read_comparison(path)
    assert comparison is not None  # it was written just now
    return ComparedModels(names[0], names[1], comparison)


def comparison_page(found: ComparedModels, chosen: EvaluationSet, settings: Settings, *, dataset: str) -> str:
    """The page with the pictures, the second model's worst first."""
    images, limits = ordered(found.comparison.images, "worst"), settings.image_limits
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
