"""A fine-tuning run, from the press of the button to the swap, in the order in which it happens:

sync → snapshot → image features → training → candidate and champion caption the same held-out images → gate → promotion
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionloop.errors import RunError
from captionloop.jobs.context import Context
from captionloop.jobs.promotion import promote
from captionloop.jobs.sync import sync
from captionloop.model import corrections
from captionloop.model.checkpoint import load_checkpoint, save_checkpoint
from captionloop.model.comparison_file import write_comparison
from captionloop.model.corrections import Snapshot
from captionloop.model.database import Project, Run, VersionState
from captionloop.model.finetune import Progress, finetune
from captionloop.model.finetune_settings import FinetuneSettings
from captionloop.model.gate import Verdict, judge
from captionloop.model.images import open_image
from captionloop.model.split import Split, split_images
from captionloop.model.text import encode_caption
from captionloop.model.training_text import Example
from captionloop.model.versions import Lineage
from captionloop.model.writing import learn_writing

if TYPE_CHECKING:
    from torch import Tensor

    from captionloop.model.captioner import Captioner
    from captionloop.model.generation import GenerationSettings

_log = logging.getLogger(__name__)

# Image features are made and captions written in batches of this many images, between which a cancel is noticed.
_BATCH = 32
# How the stages share the bar, 0 to 1: about what each takes of a run with some hundred corrections on a CPU.
_STAGES = {"reading corrections": 0.0, "reading images": 0.1, "training": 0.25, "comparing": 0.85, "deciding": 0.97}


def run_finetune(context: Context, run: Run) -> tuple[str, str]:
    """Carry out a run.

    Returns:
        the outcome as a sentence, and the new version, promoted or not.

    Raises:
        RunError: there is nothing to learn from, or training failed.
        RunCancelled: somebody cancelled the run; nothing of it is kept.
        LabelStudioError: Label Studio does not answer, so it is not known what people corrected.
        CheckpointError: the champion does not load.
    """
    report = _Reporter(context, run)
    project = context.project(run.project_id)
    scratch = context.home.runs / run.id
    try:
        report("reading corrections")
        snapshot = _take_snapshot(context, project, report)
        context.versions.ensure_champion(project.id, context.base)
        champion = context.versions.champion(project.id)
        captioner = context.captioner(champion)
        split = split_images(example.image for example in snapshot.examples)
        features = _features(context, captioner, [*split.train, *split.held_out], report)

        settings = FinetuneSettings.from_dict({"prompt": champion.generation.prompt, **run.settings})
        result = finetune(
            load_checkpoint(champion.path, device=str(captioner.device)),
            _training_set(snapshot, split),
            settings=settings,
            features=features,
            on_progress=report.training,
        )
        generation = _generation_for(champion.generation, captioner, snapshot)
        save_checkpoint(result.checkpoint, scratch, generation=generation)
        candidate = _candidate(context, scratch, generation)
        verdict = _compare(captioner, candidate, snapshot, split, features, report, scratch)

        report("deciding")
        version = context.versions.create(
            project.id,
            lambda directory: _copy_files(scratch, directory),
            lineage=Lineage(
                parent=champion.version,
                snapshot=snapshot.hash,
                corrections=result.examples,
                settings=result.settings.to_dict(),
                metrics=_figures(verdict),
                reason=verdict.reason,
                state=VersionState.CANDIDATE if verdict.promote else VersionState.REJECTED,
            ),
            generation=generation,
        )
        return _outcome(context, project, version, champion.version, verdict), version
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Reporter:
    """Says how far a run is; each call is also the place where a cancel is noticed."""

    def __init__(self, context: Context, run: Run) -> None:
        self._runs, self._run_id = context.queue.runs, run.id

    def __call__(self, stage: str, share: float = 0.0, **detail: Any) -> None:
        begin = _STAGES[stage]
        end = min((later for later in _STAGES.values() if later > begin), default=1.0)
        self._runs.report(self._run_id, begin + share * (end - begin), stage=stage, **detail)

    def training(self, progress: Progress) -> None:
        self(
            "training",
            progress.step / progress.steps,
            step=progress.step,
            steps=progress.steps,
            loss=progress.loss,
            seconds_left=progress.seconds_left,
        )


def _take_snapshot(context: Context, project: Project, report: _Reporter) -> Snapshot:
    sync(
        project.id,
        database=context.database,
        label_studio=context.label_studio,
        image_source=context.image_source,
        home=context.home,
        limits=context.image_limits,
        on_progress=lambda done, total: report("reading corrections", done / max(total, 1)),
    )
    with context.database.reading() as session:
        snapshot = corrections.snapshot(session, project.id, context.home.datasets)
    if len({example.image for example in snapshot.examples}) < 2:
        raise RunError(
            f"There are {len(snapshot.examples)} corrections to learn from, and at least two images are needed: "
            "one to learn from, one to see whether it helped. Submit some annotations in Label Studio first."
        )
    return snapshot


def _features(
    context: Context, captioner: "Captioner", images: Sequence[str], report: _Reporter
) -> "dict[str, Tensor]":
    """The frozen encoder's output for each image, from the cache where it is known: (patches + 1, hidden) by hash."""
    found: dict[str, Tensor] = {}
    for batch in _batches(images, _BATCH):
        report("reading images", len(found) / len(images), step=len(found), steps=len(images))
        known = context.features.get_many(batch, captioner.encoder_hash)
        missing = [digest for digest in batch if digest not in known]
        found |= known
        if missing:
            pictures = [
                open_image(context.home.image(digest).read_bytes(), limits=context.image_limits) for digest in missing
            ]
            encoded = captioner.encode(pictures, image_hashes=missing).cpu()
            found |= dict(zip(missing, encoded, strict=True))
    return found


def _training_set(snapshot: Snapshot, split: Split) -> list[Example]:
    train = set(split.train)
    return [
        Example(id=f"correction {example.correction}", image_hash=example.image, caption=example.caption)
        for example in snapshot.examples
        if example.image in train
    ]


def _generation_for(before: "GenerationSettings", captioner: "Captioner", snapshot: Snapshot) -> "GenerationSettings":
    """The champion's settings, with room for the longest caption that people wrote, and their way of writing."""
    tokenizer = captioner.checkpoint.tokenizer
    wide_enough = before.following(
        (len(encode_caption(tokenizer, example.caption)) for example in snapshot.examples),
        prompt_pieces=len(encode_caption(tokenizer, before.prompt)),
        most=captioner.checkpoint.model.config.text_config.max_position_embeddings,
    )
    return replace(wide_enough, writing=learn_writing(example.caption for example in snapshot.examples))


def _candidate(context: Context, directory: Path, generation: "GenerationSettings") -> "Captioner":
    """The candidate as it will serve: read back from its files, in the precision of serving."""
    from captionloop.model.captioner import Captioner

    return Captioner.load(directory, version="candidate", generation=generation, precision=context.precision)


def _compare(
    champion: "Captioner",
    candidate: "Captioner",
    snapshot: Snapshot,
    split: Split,
    features: "Mapping[str, Tensor]",
    report: _Reporter,
    directory: Path,
) -> Verdict:
    """Let both caption the held-out images, keep that in the directory, and judge by what people wrote for them."""
    references = _references(snapshot)
    written: dict[str, dict[str, str]] = {"champion": {}, "candidate": {}}
    for batch in _batches(split.held_out, _BATCH):
        report("comparing", len(written["champion"]) / len(split.held_out))
        written["champion"] |= _captions(champion, batch, features)
        written["candidate"] |= _captions(candidate, batch, features)
    held_out = {image: references[image] for image in split.held_out}
    write_comparison(
        directory,
        champion=champion.version,
        references=held_out,
        champion_captions=written["champion"],
        candidate_captions=written["candidate"],
        corpus=references.values(),
    )
    return judge(held_out, written["champion"], written["candidate"], corpus=references.values())


def _captions(captioner: "Captioner", images: Sequence[str], features: "Mapping[str, Tensor]") -> dict[str, str]:
    import torch

    suggestions = captioner.caption_features(torch.stack([features[image] for image in images]))
    return {image: suggestion.caption for image, suggestion in zip(images, suggestions, strict=True)}


def _references(snapshot: Snapshot) -> dict[str, list[str]]:
    references: dict[str, list[str]] = {}
    for example in snapshot.examples:
        references.setdefault(example.image, []).append(example.caption)
    return references


def _figures(verdict: Verdict) -> dict[str, Any]:
    """The candidate's metrics, with the gate's own figures beside them."""
    return {**verdict.candidate.to_dict(), "gate": verdict.to_dict()}


def _outcome(context: Context, project: Project, version: str, champion: str, verdict: Verdict) -> str:
    if not verdict.promote:
        return f"{version} was made and not promoted. {verdict.reason}"
    if promote(context, project, version, reason=verdict.reason, expected=champion):
        return f"{version} is the champion now. {verdict.reason}"
    return (
        f"{version} is better than {champion}, with which it was compared, but another version became champion "
        f"meanwhile. `captionloop promote {version}` makes it champion all the same."
    )


def _copy_files(source: Path, target: Path) -> None:
    for path in source.iterdir():
        shutil.copy2(path, target / path.name)


def _batches(items: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
