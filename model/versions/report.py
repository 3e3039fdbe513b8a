"""The report of a version, from files of its run: metrics, curves, examples, dataset, settings.

The files are in the version's directory. Each may be missing, as in versions of earlier releases, and then that part of
the report is missing as well:

    comparison.json      see `model.evaluation.comparison_file`
    training_log.csv     step, loss, learning_rate, gradient_norm, images_per_second, memory_mib; a row for each step
    evaluations.jsonl    {"step": n, "images": "validation" or "held-out", "metrics": {FIGURE: NUMBER},
                          "samples": [{"image", "caption", "references"}]}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from captionloop.home import Home
from captionloop.model.captions.scripts import main_script
from captionloop.model.dataset.corrections import read_snapshot
from captionloop.model.evaluation.calibration import Chances
from captionloop.model.evaluation.comparison_file import COMPARISON, ComparedImage, StoredComparison, read_comparison
from captionloop.model.metrics.differences import SCORE
from captionloop.model.metrics.word_changes import word_edits
from captionloop.model.training.log import LoggedEvaluation, read_evaluations, read_steps
from captionloop.model.versions.manifest import read_manifest
from captionloop.model.versions.store import VersionInfo

_MOST_EXAMPLES = 20
_MOST_WORST = 10  # of the examples, to leave room for changed ones


@dataclass(frozen=True)
class DatasetFacts:
    """The version's snapshot.

    Args:
        scripts: script → number of captions that are mainly in it, the most frequent first.
    """

    images: int
    captions: int
    held_out_images: int
    scripts: Mapping[str, int]

    @property
    def in_scripts(self) -> str:
        """For a person: "Cyrillic 40, Latin 6"."""
        return ", ".join(f"{script} {count}" for script, count in self.scripts.items())


@dataclass(frozen=True)
class ExampleGroup:
    """Held-out images that are shown for the same reason."""

    title: str
    images: tuple[ComparedImage, ...]


@dataclass(frozen=True)
class Report:
    """A version's report.

    Args:
        version: its row in the database.
        manifest: of its directory.
        comparison: with the champion at that time; None if not stored.
        examples: at most 20 held-out images, the worst and the most changed first.
        log: column → value at each step, for plots; empty without a log.
        evaluations: in the order of their steps.
        dataset: None if the snapshot is gone.
        picture: gives the bytes of a picture; raises OSError or ImageError if it is gone.
        chances: calibration of its scores; None if not requested.
    """

    version: VersionInfo
    manifest: Mapping[str, Any]
    comparison: StoredComparison | None
    examples: tuple[ExampleGroup, ...]
    log: Mapping[str, Sequence[float]]
    evaluations: tuple[LoggedEvaluation, ...]
    dataset: DatasetFacts | None
    picture: Callable[[str], bytes]
    chances: Chances | None


def read_report(version: VersionInfo, home: Home, *, chances: Chances | None = None) -> Report:
    """Read the report of a version.

    Args:
        version: which.
        home: of pictures and snapshots.
        chances: calibration of its scores (`calibration.chances`), from the database.

    Raises:
        CheckpointError: its directory is gone, or a file in it is damaged.
    """
    return gather_report(
        version, picture=lambda image: home.image(image).read_bytes(), snapshots=home.datasets, chances=chances
    )


def gather_report(
    version: VersionInfo, *, picture: Callable[[str], bytes], snapshots: Path, chances: Chances | None = None
) -> Report:
    """The same for a model that lies anywhere.

    Args:
        picture: as in `Report`.
        snapshots: the directory of the snapshots.
    """
    manifest = read_manifest(version.path)
    comparison = read_comparison(version.path / COMPARISON)
    return Report(
        version=version,
        manifest=manifest,
        comparison=comparison,
        examples=choose_examples(comparison.images) if comparison else (),
        log=read_steps(version.path),
        evaluations=tuple(map(_with_score, read_evaluations(version.path))),
        dataset=_read_dataset(snapshots, manifest.get("snapshot")),
        picture=picture,
        chances=chances,
    )


def choose_examples(images: Sequence[ComparedImage]) -> tuple[ExampleGroup, ...]:
    """Images with the worst candidate captions, then the most changed ones, then others, in their order."""
    by_badness = sorted(images, key=lambda image: image.candidate.word_edit_rate, reverse=True)
    worst = [image for image in by_badness if image.candidate.word_edits][:_MOST_WORST]
    rest = [image for image in images if image not in worst]
    by_change = sorted(rest, key=_changed_words, reverse=True)
    changed = [image for image in by_change if _changed_words(image)][: _MOST_EXAMPLES - len(worst)]
    others = [image for image in rest if image not in changed][: _MOST_EXAMPLES - len(worst) - len(changed)]
    groups = (("Where it is worst", worst), ("Where most changed", changed), ("The same as before", others))
    return tuple(ExampleGroup(title, tuple(chosen)) for title, chosen in groups if chosen)


def _changed_words(image: ComparedImage) -> int:
    return word_edits(image.champion.caption, image.candidate.caption)


def _with_score(point: LoggedEvaluation) -> LoggedEvaluation:
    metrics = point.metrics
    if "cider_d" in metrics and "bleu_4" in metrics:
        metrics = {**metrics, SCORE: metrics["cider_d"] + metrics["bleu_4"]}
    return replace(point, metrics=metrics)


def _read_dataset(snapshots: Path, snapshot: str | None) -> DatasetFacts | None:
    path = snapshots / f"{snapshot}.jsonl"
    if not path.is_file():
        return None
    read = read_snapshot(path)
    split = read.split()
    scripts = Counter(filter(None, (main_script(example.caption) for example in read.examples)))
    return DatasetFacts(
        images=len(split.train) + len(split.held_out),
        captions=len(read.examples),
        held_out_images=len(split.held_out),
        scripts=dict(scripts.most_common()),
    )
