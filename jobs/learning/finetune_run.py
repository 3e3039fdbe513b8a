"""A fine-tuning run, from the press of the button to the swap, in the order in which it happens:

sync → snapshot → image features → training → candidate and champion caption the same held-out images → gate → promotion
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionloop.batches import batches
from captionloop.errors import RunCancelled, RunError
from captionloop.home import read_json, write_json
from captionloop.jobs.context import Context, opened
from captionloop.jobs.learning.inputs import (
    Validation,
    chosen_settings,
    take_snapshot,
    training_set,
)
from captionloop.jobs.learning.run_features import BATCH, RunFeatures, captions, picture
from captionloop.jobs.processes.group import in_processes
from captionloop.jobs.processes.patience import Patience
from captionloop.jobs.project.promotion import promote
from captionloop.logs import belonging_to
from captionloop.model.blip.checkpoint import load_checkpoint, save_checkpoint
from captionloop.model.blip.generation_settings import generation_for
from captionloop.model.database import Project, Run, VersionState
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.dataset.split import set_aside
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

_PLAN, _MADE = "plan.json", "made.json"  # in the run's directory
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
    project, report = context.project(run.project_id), _Reporter(context, run)
    scratch = context.home.runs / run.id
    try:
        report("reading corrections")
        made = _Made.read(scratch)
        if made is None:  # else its worker was killed while the version was being promoted
            made = _prepare(context, project, run, report).make_version()
        return _outcome(context, project, made), made.version
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
    def read(cls, scratch: Path) -> "_Made | None":
        known = read_json(scratch / _MADE)
        return cls(**known) if known else None

    def write(self, scratch: Path) -> None:
        write_json(scratch / _MADE, asdict(self))


@dataclass(frozen=True)
class _Plan:
    """What a run is about; a second attempt after a kill is about the same."""

    snapshot: Snapshot
    champion: VersionInfo

    @property
    def identity(self) -> dict[str, Any]:
        return {"snapshot": self.snapshot.hash, "champion": self.champion.version}

    @classmethod
    def read(cls, context: Context, project: Project, scratch: Path) -> "_Plan | None":
        begun = read_json(scratch / _PLAN)
        if not begun:
            return None
        snapshot = corrections.read_snapshot(context.home.datasets / f"{begun['snapshot']}.jsonl")
        return cls(snapshot, context.versions.get(project.id, begun["champion"]))


def _prepare(context: Context, project: Project, run: Run, report: "_Reporter") -> "_FinetuneRun":
    """Find out what the run is about, and wait for Label Studio as long as that takes."""
    scratch = context.home.runs / run.id
    patience = Patience(context.queue.runs, run.id)
    with context.label_studio.telling_of_retries(patience.say_waiting):
        plan = _Plan.read(context, project, scratch) or _make_plan(context, project, scratch, report, patience)
        chosen = patience.until_done(partial(chosen_settings, context, project, run.settings))
    settings = FinetuneSettings.from_dict({"prompt": plan.champion.generation.prompt, **chosen})
    return _FinetuneRun(context, run, plan, settings, context.captioner(plan.champion), report)


def _make_plan(context: Context, project: Project, scratch: Path, report: "_Reporter", patience: Patience) -> _Plan:
    def read(done: int, total: int) -> None:
        patience.got_through()
        report("reading corrections", done / max(total, 1))

    snapshot = patience.until_done(partial(take_snapshot, context, project, read))
    context.versions.ensure_champion(project.id, context.base)
    plan = _Plan(snapshot, context.versions.champion(project.id))
    write_json(scratch / _PLAN, plan.identity)
    return plan


@dataclass(frozen=True)
class _Trained:
    """What is known of the training when the new model lies in the run's directory; all of it plain data."""

    settings: dict[str, Any]
    examples: int
    steps: int


@dataclass(frozen=True)
class _FinetuneRun:
    """A run of which all is known that it goes by.

    Args:
        plan: with the champion as a version; `champion` is its model.
    """

    context: Context
    run: Run
    plan: _Plan
    settings: FinetuneSettings
    champion: "Captioner"
    report: "_Reporter"

    def make_version(self) -> _Made:
        """Train, compare, judge and keep the version.

        Raises:
            RunError: all images are held out.
        """
        split = self.plan.snapshot.split()
        if not split.train:
            raise RunError(
                f"There is nothing to learn from: all {len(split.held_out)} corrected images are held out, since they "
                "look alike or are few. Submit annotations of other images first."
            )
        trained = self.train()
        verdict, held_out = self._compare(split.held_out)
        with self._log() as log:
            log.begin(trained.steps, trained.settings)
            log.evaluation(trained.steps, held_out, images="held-out")
        self.report("deciding")
        version = self._keep(trained, verdict)
        made = _Made(version, self.plan.champion.version, verdict.promote, verdict.reason, trained.examples)
        made.write(self.scratch)
        return made

    @property
    def scratch(self) -> Path:
        return self.context.home.runs / self.run.id

    @property
    def files(self) -> Path:
        """The version's directory before it is one."""
        return self.scratch / "version"

    @cached_property
    def generation(self) -> "GenerationSettings":
        written = (example.caption for example in self.plan.snapshot.examples)
        return generation_for(self.plan.champion.generation, self.champion.checkpoint, written)

    def train(self) -> _Trained:
        """Train, here or in several processes, and put the new model into the run's directory."""
        reading, settings = partial(self.report, "reading images"), self.context.settings
        if settings.processes == 1:
            return self.fit(reading)
        self._features(*_examples(self.context, self.plan, self.settings), reading)  # into the cache, for all
        found = in_processes(
            _fit_in_process,
            self.run.id,
            self.settings.to_dict(),
            processes=settings.processes,
            device=settings.device,
            scratch=self.scratch / "processes",
            log_level=settings.log_level,
            log_format=settings.log_format,
        )
        return _Trained(**found)

    def fit(self, reading: Callable[[float], None]) -> _Trained:
        """Train in this process; `reading` is told how much of the image features is there, 0 to 1."""
        snapshot = self.plan.snapshot
        examples, validation = _examples(self.context, self.plan, self.settings)
        features = self._features(examples, validation, reading)
        validated = Validation(
            self.context,
            references=snapshot.references(),
            images=validation,
            generation=self.plan.champion.generation,
            features=features,
        )
        with self._log() as log:
            result = finetune(
                self._start(),
                examples,
                settings=self.settings,
                features=features,
                pictures=partial(picture, self.context),
                validate=validated.validate if validation else None,
                log=log,
                state=TrainingState(self.scratch / "state.safetensors", self.plan.identity | self.settings.to_dict()),
                on_progress=self.report.training,
                should_stop=self.report.is_cancelled,
            )
        if result.is_main:
            save_checkpoint(result.checkpoint, self.files, generation=self.generation)
            result.trainable.save_adapter(self.files / "adapter")
        return _Trained(settings=result.settings.to_dict(), examples=result.examples, steps=len(result.losses))

    def _features(
        self, examples: Sequence[Example], validation: Sequence[str], on_progress: Callable[[float], None]
    ) -> RunFeatures | None:
        if self.settings.trains_encoder:
            return None
        images = list(dict.fromkeys([*(example.image_hash for example in examples), *validation]))
        return RunFeatures(self.context, self.champion, images, on_progress)

    def _start(self) -> "Checkpoint":
        """The champion in float32: the very model that captions, which training leaves as it is, if it is in that."""
        if self.champion.precision == "fp32":
            return self.champion.checkpoint
        return load_checkpoint(self.plan.champion.path, device=self.champion.device)

    def _log(self) -> TrainingLog:
        home = self.context.home
        return TrainingLog(
            self.files,
            tensorboard=home.tensorboard / self.run.id,
            pictures=partial(picture, self.context),
            trackers=Trackers(self.run.id, environment=os.environ, directory=home.trackers / self.run.id),
        )

    def _compare(self, held_out: Sequence[str]) -> tuple[Verdict, ValidationResult]:
        """Let both caption the held-out images, keep that in the directory, and judge by what people wrote for them.

        Returns:
            the verdict, and how good the candidate's captions are.
        """
        written = self._captions_of_both(held_out)
        everything = self.plan.snapshot.references()
        references, corpus = {image: everything[image] for image in held_out}, everything.values()
        write_comparison(
            self.files / COMPARISON,
            champion=self.plan.champion.version,
            references=references,
            champion_captions=written["champion"],
            candidate_captions=written["candidate"],
            corpus=corpus,
        )
        verdict = judge(references, written["champion"], written["candidate"], corpus=corpus, rule=self.context.gate)
        return verdict, ValidationResult.of(references, written["candidate"], corpus=corpus)

    def _captions_of_both(self, images: Sequence[str]) -> dict[str, dict[str, str]]:
        candidate = self._candidate()
        written: dict[str, dict[str, str]] = {"champion": {}, "candidate": {}}
        for batch in batches(images, BATCH):
            self.report("comparing", len(written["champion"]) / len(images))
            written["champion"] |= captions(self.context, self.champion, batch)
            written["candidate"] |= captions(self.context, candidate, batch)
        return written

    def _candidate(self) -> "Captioner":
        """The candidate as it will serve: read back from its files, in the precision of serving."""
        from captionloop.model.captioning.captioner import Captioner

        return Captioner.load(
            self.files,
            version="candidate",
            generation=self.generation,
            precision=self.context.precision,
            device=self.context.settings.device,
        )

    def _keep(self, trained: _Trained, verdict: Verdict) -> str:
        """Make a version of what lies in the directory; its name."""
        return self.context.versions.create(
            self.run.project_id,
            partial(_copy_files, self.files),
            lineage=Lineage(
                parent=self.plan.champion.version,
                snapshot=self.plan.snapshot.hash,
                corrections=trained.examples,
                settings=trained.settings,
                metrics=_figures(verdict),
                reason=verdict.reason,
                state=VersionState.CANDIDATE if verdict.promote else VersionState.REJECTED,
            ),
            generation=self.generation,
        )


def _fit_in_process(run_id: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What each of several processes does, with parts of its own; the run has prepared what it needs."""
    with belonging_to(job=run_id), opened() as context:
        run = context.queue.runs.get(run_id)
        assert run is not None
        plan = _Plan.read(context, context.project(run.project_id), context.home.runs / run.id)
        assert plan is not None  # the run made it before it called us
        chosen, captioner = FinetuneSettings.from_dict(settings), context.captioner(plan.champion)
        part = _FinetuneRun(context, run, plan, chosen, captioner, _Reporter(context, run))
        return asdict(part.fit(lambda share: None))


def _examples(context: Context, plan: _Plan, settings: FinetuneSettings) -> tuple[list[Example], Sequence[str]]:
    """What is learnt from, new or replayed, and the images by which the best weights are chosen."""
    snapshot = plan.snapshot
    validation, training = set_aside(snapshot.split().train, settings.validation_share, split_with=snapshot.split_with)
    return training_set(context, plan.champion, snapshot, settings, set(training)), validation


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
