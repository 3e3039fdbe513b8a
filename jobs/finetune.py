"""A fine-tuning run, from the press of the button to the swap, in the order in which it happens:

sync → snapshot → image features → training → candidate and champion caption the same held-out images → gate → promotion
"""

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from captionloop.errors import RunError, SettingsError
from captionloop.home import read_json, write_json
from captionloop.jobs.context import Context
from captionloop.jobs.promotion import promote
from captionloop.jobs.run_images import BATCH, RunFeatures, batches, image_features, picture
from captionloop.jobs.sync import sync
from captionloop.model import corrections
from captionloop.model.checkpoint import load_checkpoint, save_checkpoint
from captionloop.model.comparison_file import read_comparison, write_comparison
from captionloop.model.corrections import Snapshot
from captionloop.model.database import Project, Run, VersionState
from captionloop.model.finetune import Progress, finetune
from captionloop.model.finetune_settings import FinetuneSettings
from captionloop.model.gate import Verdict, judge
from captionloop.model.metrics import evaluate_captions
from captionloop.model.split import Split, set_aside
from captionloop.model.text import encode_caption
from captionloop.model.training_log import Sample, TrainingLog
from captionloop.model.training_state import TrainingState
from captionloop.model.training_text import Example
from captionloop.model.versions import Lineage, VersionInfo
from captionloop.model.writing import learn_writing

if TYPE_CHECKING:
    from captionloop.model.captioner import Captioner
    from captionloop.model.checkpoint import Checkpoint
    from captionloop.model.generation import GenerationSettings

_SAMPLES = 8  # captions that are shown in the log
_FEW = 10  # captions below which the outcome says what can be expected of them
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
    files = scratch / "version"
    try:
        report("reading corrections")
        plan = _plan(context, project, scratch / "plan.json", report)
        champion, snapshot = plan.champion, plan.snapshot
        settings = _settings(context, project, run, prompt=champion.generation.prompt)
        captioner = context.captioner(champion)
        split = snapshot.split()
        if not split.train:
            raise RunError(
                f"There is nothing to learn from: all {len(split.held_out)} corrected images are held out, since they "
                "look alike or are few. Submit annotations of other images first."
            )
        validation, training = set_aside(split.train, settings.validation_share, split_with=snapshot.split_with)
        reading = partial(report, "reading images")
        features = None if settings.trains_encoder else RunFeatures(context, captioner, training, reading)

        with TrainingLog(files, tensorboard=context.home.tensorboard / run.id) as log:
            result = finetune(
                load_checkpoint(champion.path, device=str(captioner.device)),
                _training_set(snapshot, set(training)),
                settings=settings,
                features=features,
                pictures=partial(picture, context),
                score=_score(context, champion.generation, snapshot, validation) if validation else None,
                log=log,
                state=TrainingState(scratch / "state.safetensors", plan.identity | settings.to_dict()),
                on_progress=report.training,
            )
            generation = _generation_for(champion.generation, captioner, snapshot)
            save_checkpoint(result.checkpoint, files, generation=generation)
            result.trainable.save_adapter(files / "adapter")
            candidate = _candidate(context, files, generation)
            verdict = _compare(context, captioner, candidate, snapshot, split, report, files)
            _log_verdict(context, log, len(result.losses), verdict, files)

        report("deciding")
        version = context.versions.create(
            project.id,
            partial(_copy_files, files),
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
        outcome = _outcome(context, project, version, champion.version, verdict)
        return outcome + _expectation(result.examples), version
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class _Plan:
    """What a run is about; a second attempt after a kill is about the same."""

    snapshot: Snapshot
    champion: VersionInfo

    @property
    def identity(self) -> dict[str, Any]:
        return {"snapshot": self.snapshot.hash, "champion": self.champion.version}


def _plan(context: Context, project: Project, path: Path, report: "_Reporter") -> _Plan:
    begun = read_json(path)
    if begun:
        snapshot = corrections.read_snapshot(context.home.datasets / f"{begun['snapshot']}.jsonl")
        return _Plan(snapshot, context.versions.get(project.id, begun["champion"]))
    snapshot = _take_snapshot(context, project, report)
    context.versions.ensure_champion(project.id, context.base)
    plan = _Plan(snapshot, context.versions.champion(project.id))
    write_json(path, plan.identity)
    return plan


def _settings(context: Context, project: Project, run: Run, *, prompt: str) -> FinetuneSettings:
    """What the request says, else what the extra params of the model in Label Studio say, else the defaults."""
    connected = context.label_studio.ml_backends(project.label_studio_id)
    ours = next((found for found in connected if found["id"] == project.ml_backend_id), None)
    extra = (ours or {}).get("extra_params") or {}
    if not isinstance(extra, dict):
        raise SettingsError(
            f"The extra params of the model in Label Studio are {extra!r}; expected an object, such as "
            '{"way": "lora"}.'
        )
    return FinetuneSettings.from_dict({"prompt": prompt, **extra, **run.settings})


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
    with context.database.session() as session:
        snapshot = corrections.snapshot(session, project.id, context.home)
    if len({example.image for example in snapshot.examples}) < 2:
        raise RunError(
            f"There are {len(snapshot.examples)} corrections to learn from, and at least two images are needed: "
            "one to learn from, one to see whether it helped. Submit some annotations in Label Studio first."
        )
    return snapshot


def _training_set(snapshot: Snapshot, images: Collection[str]) -> list[Example]:
    return [
        Example(id=f"correction {example.correction}", image_hash=example.image, caption=example.caption)
        for example in snapshot.examples
        if example.image in images
    ]


def _score(
    context: Context, generation: "GenerationSettings", snapshot: Snapshot, images: Sequence[str]
) -> "Callable[[Checkpoint], float]":
    """CIDEr-D + BLEU-4 on images that are neither trained on nor the gate's, as BLIP chooses its best checkpoint."""
    references = _references(snapshot)
    validation = {image: references[image] for image in images}

    def score(checkpoint: "Checkpoint") -> float:
        from captionloop.model.captioner import Captioner

        # In the precision of training: an encoder that is frozen is shared with what trains.
        captioner = Captioner(checkpoint, version="validation", generation=generation, precision="fp32")
        written = {
            image: suggestion.caption
            for batch in batches(images, BATCH)
            for image, suggestion in zip(
                batch, captioner.caption([picture(context, image) for image in batch]), strict=True
            )
        }
        found = evaluate_captions(validation, written, corpus=references.values())
        return found.cider_d + found.bleu_4

    return score


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
    context: Context,
    champion: "Captioner",
    candidate: "Captioner",
    snapshot: Snapshot,
    split: Split,
    report: _Reporter,
    directory: Path,
) -> Verdict:
    """Let both caption the held-out images, keep that in the directory, and judge by what people wrote for them."""
    references = _references(snapshot)
    written: dict[str, dict[str, str]] = {"champion": {}, "candidate": {}}
    for batch in batches(split.held_out, BATCH):
        report("comparing", len(written["champion"]) / len(split.held_out))
        written["champion"] |= _captions(context, champion, batch)
        written["candidate"] |= _captions(context, candidate, batch)
    held_out = {image: references[image] for image in split.held_out}
    write_comparison(
        directory,
        champion=champion.version,
        references=held_out,
        champion_captions=written["champion"],
        candidate_captions=written["candidate"],
        corpus=references.values(),
    )
    return judge(held_out, written["champion"], written["candidate"], corpus=references.values(), rule=context.gate)


def _captions(context: Context, captioner: "Captioner", images: Sequence[str]) -> dict[str, str]:
    """What a version writes, from its own encoder's features: a trained encoder is not the champion's."""
    import torch

    features = image_features(context, captioner, images)
    suggestions = captioner.caption_features(torch.stack([features[image] for image in images]))
    return {image: suggestion.caption for image, suggestion in zip(images, suggestions, strict=True)}


def _log_verdict(context: Context, log: TrainingLog, step: int, verdict: Verdict, files: Path) -> None:
    """The last evaluation, on the gate's images, with some of the captions and their pictures."""
    compared = read_comparison(files)
    samples = [
        Sample(image=image.image, caption=image.candidate.caption, references=image.references)
        for image in (compared.images[:_SAMPLES] if compared else ())
    ]
    log.evaluation(step, verdict.candidate.to_dict(), samples)
    for sample in samples:
        log.picture(step, sample, np.asarray(picture(context, sample.image)))


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


def _expectation(examples: int) -> str:
    if examples >= _FEW:
        return ""
    return (
        f" It learnt from {examples} captions only: that is enough for a wording that many captions share, not for new "
        "words. 20 are few, 60 are good."
    )


def _copy_files(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)
