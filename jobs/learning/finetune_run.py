"""A fine-tuning run, from the press of the button to the swap, in the order in which it happens:

sync → snapshot → image features → training → candidate and champion caption the same held-out images → gate → promotion
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionloop.errors import RunCancelled, RunError
from captionloop.home import read_json, write_json
from captionloop.jobs.context import Context, opened
from captionloop.jobs.learning.inputs import (
    Validation,
    chosen_settings,
    take_snapshot,
    training_set,
)
from captionloop.jobs.learning.run_features import BATCH, RunFeatures, batches, captions, picture
from captionloop.jobs.processes.group import in_processes
from captionloop.jobs.processes.patience import Patience
from captionloop.jobs.project.promotion import promote
from captionloop.logs import belonging_to
from captionloop.model.blip.checkpoint import load_checkpoint, save_checkpoint
from captionloop.model.blip.generation_settings import generation_for
from captionloop.model.database import Project, Run, VersionState
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.dataset.split import Split, set_aside
from captionloop.model.evaluation.comparison_file import COMPARISON, write_comparison
from captionloop.model.evaluation.gate import Verdict, judge
from captionloop.model.training.caption_targets import Example
from captionloop.model.training.log import TrainingLog
from captionloop.model.training.loop import TrainingProgress, finetune
from captionloop.model.training.resume_state import TrainingState
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.training.trackers import Trackers
from captionloop.model.training.validation import ValidationResult
from captionloop.model.versions.manifest import Lineage
from captionloop.model.versions.store import VersionInfo

if TYPE_CHECKING:
    from captionloop.model.blip.checkpoint import Checkpoint
    from captionloop.model.blip.generation_settings import GenerationSettings
    from captionloop.model.captioning.captioner import Captioner

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
        LabelStudioError: Label Studio refuses, or has not answered for half an hour, so it is not known what people
            corrected.
        CheckpointError: the champion does not load.
    """
    report = _Reporter(context, run)
    project = context.project(run.project_id)
    scratch = context.home.runs / run.id
    files = scratch / "version"
    try:
        report("reading corrections")
        made = _Made.read(scratch / "made.json")
        if made is not None:  # its worker was killed while the version was being promoted
            return _outcome(context, project, made), made.version
        patience = Patience(context.queue.runs, run.id)
        with context.label_studio.telling_of_retries(patience.say_waiting):
            path = scratch / "plan.json"
            plan = _Plan.read(context, project, path) or _make_plan(context, project, path, report, patience)
            chosen = patience.until_done(partial(chosen_settings, context, project, run.settings))
        champion, snapshot = plan.champion, plan.snapshot
        settings = FinetuneSettings.from_dict({"prompt": champion.generation.prompt, **chosen})
        captioner = context.captioner(champion)
        split = snapshot.split()
        if not split.train:
            raise RunError(
                f"There is nothing to learn from: all {len(split.held_out)} corrected images are held out, since they "
                "look alike or are few. Submit annotations of other images first."
            )
        trained = _train(context, run, plan, settings, captioner, report)
        generation = _generation(plan, captioner)
        candidate = _candidate(context, files, generation)
        verdict, held_out = _compare(context, captioner, candidate, snapshot, split, report, files)
        with _log(context, run) as log:
            log.begin(trained.steps, trained.settings)
            log.evaluation(trained.steps, held_out, images="held-out")

        report("deciding")
        version = context.versions.create(
            project.id,
            partial(_copy_files, files),
            lineage=Lineage(
                parent=champion.version,
                snapshot=snapshot.hash,
                corrections=trained.examples,
                settings=trained.settings,
                metrics=_figures(verdict),
                reason=verdict.reason,
                state=VersionState.CANDIDATE if verdict.promote else VersionState.REJECTED,
            ),
            generation=generation,
        )
        made = _Made(version, champion.version, verdict.promote, verdict.reason, trained.examples)
        write_json(scratch / "made.json", asdict(made))
        return _outcome(context, project, made), version
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class _Made:
    """A version that stands, before anything was done with it. A second attempt after a kill makes no other one."""

    version: str
    champion: str  # with which it was compared
    promote: bool
    reason: str
    examples: int

    @classmethod
    def read(cls, path: Path) -> "_Made | None":
        known = read_json(path)
        return cls(**known) if known else None


@dataclass(frozen=True)
class _Plan:
    """What a run is about; a second attempt after a kill is about the same."""

    snapshot: Snapshot
    champion: VersionInfo

    @property
    def identity(self) -> dict[str, Any]:
        return {"snapshot": self.snapshot.hash, "champion": self.champion.version}

    @classmethod
    def read(cls, context: Context, project: Project, path: Path) -> "_Plan | None":
        begun = read_json(path)
        if not begun:
            return None
        snapshot = corrections.read_snapshot(context.home.datasets / f"{begun['snapshot']}.jsonl")
        return cls(snapshot, context.versions.get(project.id, begun["champion"]))


def _make_plan(context: Context, project: Project, path: Path, report: "_Reporter", patience: Patience) -> _Plan:
    def read(done: int, total: int) -> None:
        patience.got_through()
        report("reading corrections", done / max(total, 1))

    snapshot = patience.until_done(partial(take_snapshot, context, project, read))
    context.versions.ensure_champion(project.id, context.base)
    plan = _Plan(snapshot, context.versions.champion(project.id))
    write_json(path, plan.identity)
    return plan


@dataclass(frozen=True)
class _Trained:
    """What is known of the training when the new model lies in the run's directory; all of it plain data."""

    settings: dict[str, Any]
    examples: int
    steps: int


def _train(
    context: Context, run: Run, plan: _Plan, settings: FinetuneSettings, captioner: "Captioner", report: "_Reporter"
) -> _Trained:
    """Train, here or in several processes, and put the new model into the run's directory."""
    reading = partial(report, "reading images")
    if context.settings.processes == 1:
        return _fit(context, run, plan, settings, captioner, report, reading)
    examples, validation = _examples(context, plan, settings)
    _features(context, captioner, settings, examples, validation, reading)  # into the cache, for all
    found = in_processes(
        _fit_in_process,
        run.id,
        settings.to_dict(),
        processes=context.settings.processes,
        device=context.settings.device,
        scratch=context.home.runs / run.id / "processes",
        log_level=context.settings.log_level,
        log_format=context.settings.log_format,
    )
    return _Trained(**found)


def _fit_in_process(run_id: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What each of several processes does, with parts of its own; the run has prepared what it needs."""
    with belonging_to(job=run_id), opened() as context:
        run = context.queue.runs.get(run_id)
        assert run is not None
        report = _Reporter(context, run)
        plan = _Plan.read(context, context.project(run.project_id), context.home.runs / run.id / "plan.json")
        assert plan is not None  # the run made it before it called us
        chosen, captioner = FinetuneSettings.from_dict(settings), context.captioner(plan.champion)
        return asdict(_fit(context, run, plan, chosen, captioner, report, lambda share: None))


def _fit(
    context: Context,
    run: Run,
    plan: _Plan,
    settings: FinetuneSettings,
    captioner: "Captioner",
    report: "_Reporter",
    reading: Callable[[float], None],
) -> _Trained:
    scratch = context.home.runs / run.id
    files = scratch / "version"
    champion, snapshot = plan.champion, plan.snapshot
    examples, validation = _examples(context, plan, settings)
    features = _features(context, captioner, settings, examples, validation, reading)
    validated = Validation(
        context,
        references=snapshot.references(),
        images=validation,
        generation=champion.generation,
        features=features,
    )
    with _log(context, run) as log:
        result = finetune(
            _start(champion, captioner),
            examples,
            settings=settings,
            features=features,
            pictures=partial(picture, context),
            validate=validated.validate if validation else None,
            log=log,
            state=TrainingState(scratch / "state.safetensors", plan.identity | settings.to_dict()),
            on_progress=report.training,
            should_stop=report.is_cancelled,
        )
    if result.is_main:
        save_checkpoint(result.checkpoint, files, generation=_generation(plan, captioner))
        result.trainable.save_adapter(files / "adapter")
    return _Trained(settings=result.settings.to_dict(), examples=result.examples, steps=len(result.losses))


def _start(champion: VersionInfo, captioner: "Captioner") -> "Checkpoint":
    """The champion in float32: the very model that captions, which training leaves as it is, if it is in that."""
    if captioner.precision == "fp32":
        return captioner.checkpoint
    return load_checkpoint(champion.path, device=captioner.device)


def _log(context: Context, run: Run) -> TrainingLog:
    return TrainingLog(
        context.home.runs / run.id / "version",
        tensorboard=context.home.tensorboard / run.id,
        pictures=partial(picture, context),
        trackers=Trackers(run.id, environment=os.environ, directory=context.home.trackers / run.id),
    )


def _features(
    context: Context,
    captioner: "Captioner",
    settings: FinetuneSettings,
    examples: Sequence[Example],
    validation: Sequence[str],
    on_progress: "Callable[[float], None]",
) -> RunFeatures | None:
    if settings.trains_encoder:
        return None
    images = list(dict.fromkeys([*(example.image_hash for example in examples), *validation]))
    return RunFeatures(context, captioner, images, on_progress)


def _generation(plan: _Plan, captioner: "Captioner") -> "GenerationSettings":
    written = (example.caption for example in plan.snapshot.examples)
    return generation_for(plan.champion.generation, captioner.checkpoint, written)


class _Reporter:
    """Says how far a run is; each call is also the place where a cancel is noticed."""

    def __init__(self, context: Context, run: Run) -> None:
        self._runs, self._run_id = context.queue.runs, run.id
        self._is_cancelled = False

    def __call__(self, stage: str, share: float = 0.0, **detail: Any) -> None:
        begin = _STAGES[stage]
        end = min((later for later in _STAGES.values() if later > begin), default=1.0)
        self._runs.report(self._run_id, begin + share * (end - begin), stage=stage, **detail)

    def training(self, progress: TrainingProgress) -> None:
        """Notices a cancel, but lets `is_cancelled` tell of it: processes that train together have to end together."""
        try:
            self(
                "training",
                progress.step / progress.steps,
                step=progress.step,
                steps=progress.steps,
                loss=progress.loss,
                seconds_left=progress.seconds_left,
            )
        except RunCancelled:
            self._is_cancelled = True

    def is_cancelled(self) -> bool:
        return self._is_cancelled


def _examples(context: Context, plan: _Plan, settings: FinetuneSettings) -> tuple[list[Example], Sequence[str]]:
    """What is learnt from, new or replayed, and the images by which the best weights are chosen."""
    snapshot = plan.snapshot
    validation, training = set_aside(snapshot.split().train, settings.validation_share, split_with=snapshot.split_with)
    return training_set(context, plan.champion, snapshot, settings, set(training)), validation


def _candidate(context: Context, directory: Path, generation: "GenerationSettings") -> "Captioner":
    """The candidate as it will serve: read back from its files, in the precision of serving."""
    from captionloop.model.captioning.captioner import Captioner

    return Captioner.load(
        directory,
        version="candidate",
        generation=generation,
        precision=context.precision,
        device=context.settings.device,
    )


def _compare(
    context: Context,
    champion: "Captioner",
    candidate: "Captioner",
    snapshot: Snapshot,
    split: Split,
    report: _Reporter,
    directory: Path,
) -> tuple[Verdict, ValidationResult]:
    """Let both caption the held-out images, keep that in the directory, and judge by what people wrote for them.

    Returns:
        the verdict, and how good the candidate's captions are.
    """
    references = snapshot.references()
    written: dict[str, dict[str, str]] = {"champion": {}, "candidate": {}}
    for batch in batches(split.held_out, BATCH):
        report("comparing", len(written["champion"]) / len(split.held_out))
        written["champion"] |= captions(context, champion, batch)
        written["candidate"] |= captions(context, candidate, batch)
    held_out = {image: references[image] for image in split.held_out}
    write_comparison(
        directory / COMPARISON,
        champion=champion.version,
        references=held_out,
        champion_captions=written["champion"],
        candidate_captions=written["candidate"],
        corpus=references.values(),
    )
    corpus = references.values()
    verdict = judge(held_out, written["champion"], written["candidate"], corpus=corpus, rule=context.gate)
    return verdict, ValidationResult.of(held_out, written["candidate"], corpus=corpus)


def _figures(verdict: Verdict) -> dict[str, Any]:
    """The candidate's metrics, with the gate's own figures beside them."""
    return {**verdict.candidate.to_dict(), "gate": verdict.to_dict()}


def _outcome(context: Context, project: Project, made: _Made) -> str:
    """Promote the version if it is to be; what became of it, for a person."""
    if not made.promote:
        outcome = f"{made.version} was made and not promoted. {made.reason}"
    elif promote(context, project, made.version, reason=made.reason, expected=made.champion):
        outcome = f"{made.version} is the champion now. {made.reason}"
    else:
        outcome = (
            f"{made.version} is better than {made.champion}, with which it was compared, but another version became "
            f"champion meanwhile. `captionloop promote {made.version}` makes it champion all the same."
        )
    return outcome + _expectation(made.examples)


def _expectation(examples: int) -> str:
    if examples >= _FEW:
        return ""
    return (
        f" It learnt from {examples} captions only: that is enough for a wording that many captions share, not for new "
        "words. 20 are few, 60 are good."
    )


def _copy_files(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)
