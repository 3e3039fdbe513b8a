"""A fine-tuning run, from the press of the button to the swap, in the order in which it happens:

sync → snapshot → image features → training → candidate and champion caption the same held-out images → gate → promotion
"""

import os
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from captionloop.errors import RunCancelled
from captionloop.home import read_json, write_json
from captionloop.jobs.context import Context, opened
from captionloop.jobs.learning.inputs import chosen_settings, learnt_by, take_snapshot
from captionloop.jobs.processes.group import in_processes
from captionloop.jobs.processes.patience import Patience
from captionloop.jobs.project.promotion import promote
from captionloop.logs import belonging_to
from captionloop.model.database import Project, Run, VersionState
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.evaluation.gate import Verdict
from captionloop.model.finetuning.finetuning import Finetuning, Trained, figures, identity
from captionloop.model.training.log import TrainingLog
from captionloop.model.training.loop import TrainingProgress
from captionloop.model.training.resume_state import TrainingState
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.training.trackers import Trackers
from captionloop.model.versions.manifest import Lineage
from captionloop.model.versions.store import VersionInfo

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
    return _FinetuneRun(context, run, plan, _training(context, run, plan, settings, report))


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
class _FinetuneRun:
    """A run of which all is known that it goes by."""

    context: Context
    run: Run
    plan: _Plan
    training: Finetuning

    def make_version(self) -> _Made:
        """Train, compare, judge and keep the version.

        Raises:
            RunError: all images are held out.
        """
        trained = self.train()
        verdict = self.training.compare(trained)
        self.training.report("deciding")
        version = self._keep(trained, verdict)
        made = _Made(version, self.plan.champion.version, verdict.promote, verdict.reason, trained.examples)
        made.write(self.context.home.runs / self.run.id)
        return made

    def train(self) -> Trained:
        """Train, here or in several processes, and put the new model into the run's directory."""
        settings = self.context.settings
        if settings.processes == 1:
            return self.training.fit()
        self.training.encoded(*self.training.examples())  # into the cache, for all
        found = in_processes(
            _fit_in_process,
            self.run.id,
            self.training.settings.to_dict(),
            processes=settings.processes,
            device=settings.device,
            scratch=self.context.home.runs / self.run.id / "processes",
            log_level=settings.log_level,
            log_format=settings.log_format,
        )
        return Trained(**found)

    def _keep(self, trained: Trained, verdict: Verdict) -> str:
        """Make a version of what lies in the directory; its name."""
        return self.context.versions.create(
            self.run.project_id,
            partial(_copy_files, self.training.files),
            lineage=Lineage(
                parent=self.plan.champion.version,
                snapshot=self.plan.snapshot.hash,
                corrections=trained.examples,
                settings=trained.settings,
                metrics=figures(verdict),
                reason=verdict.reason,
                state=VersionState.CANDIDATE if verdict.promote else VersionState.REJECTED,
            ),
            generation=self.training.generation,
        )


def _training(context: Context, run: Run, plan: _Plan, settings: FinetuneSettings, report: "_Reporter") -> Finetuning:
    home = context.home
    scratch, champion = home.runs / run.id, plan.champion
    return Finetuning(
        snapshot=plan.snapshot,
        champion=context.captioner(champion),
        source=champion.path,
        learnt=learnt_by(context, champion),
        settings=settings,
        pictures=context.pictures,
        files=scratch / "version",  # the version's directory before it is one
        state=TrainingState(scratch / "state.safetensors", identity(plan.snapshot, champion.version, settings)),
        log=lambda: TrainingLog(
            scratch / "version",
            tensorboard=home.tensorboard / run.id,
            pictures=context.pictures.open,
            trackers=Trackers(run.id, environment=os.environ, directory=home.trackers / run.id),
        ),
        report=report,
        rule=context.gate,
    )


def _fit_in_process(run_id: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What each of several processes does, with parts of its own; the run has prepared what it needs."""
    with belonging_to(job=run_id), opened() as context:
        run = context.queue.runs.get(run_id)
        assert run is not None
        plan = _Plan.read(context, context.project(run.project_id), context.home.runs / run.id)
        assert plan is not None  # the run made it before it called us
        chosen, report = FinetuneSettings.from_dict(settings), _OfOneProcess(context, run)
        return asdict(_training(context, run, plan, chosen, report).fit())


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


class _OfOneProcess(_Reporter):
    """Says how the training goes, and nothing of the rest, which the run has done for all of its processes."""

    def __call__(self, stage: str, share: float = 0.0, **detail: Any) -> None:
        if stage == "training":
            super().__call__(stage, share, **detail)


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
