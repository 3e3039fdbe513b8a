"""A fine-tuning run, from the request to the promotion:

sync → snapshot → image features → training → candidate and champion caption the same held-out images → gate → promotion
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from captionloop.errors import RunCancelled, RunLost
from captionloop.home import read_json, write_json
from captionloop.jobs.context import Context, opened
from captionloop.jobs.learning.inputs import chosen_settings, learnt_by, take_snapshot
from captionloop.jobs.learning.scratch import PLAN, STATE, VERSION, scratch_directory
from captionloop.jobs.processes.group import in_processes
from captionloop.jobs.processes.patience import Patience
from captionloop.jobs.project.promotion import promote
from captionloop.jobs.queue.attempt import Attempt
from captionloop.logs import belonging_to
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import Project, VersionState
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.dataset.styles import ProjectStyles
from captionloop.model.evaluation.comparison_file import in_style
from captionloop.model.evaluation.gate import Verdict
from captionloop.model.finetuning.finetuning import Finetuning, Trained, figures, identity
from captionloop.model.training.log import TrainingLog
from captionloop.model.training.loop import TrainingProgress
from captionloop.model.training.resume_state import TrainingState
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.training.trackers import Trackers
from captionloop.model.versions.manifest import Lineage
from captionloop.model.versions.store import VersionInfo

_FEW = 10  # with fewer captions the outcome says what can be expected
# The stages' parts of the progress, 0 to 1: about their durations in a run with some hundred corrections on a CPU.
_STAGES = {"reading corrections": 0.0, "reading images": 0.1, "training": 0.25, "comparing": 0.85, "deciding": 0.97}


def run_finetune(context: Context, attempt: Attempt) -> str:
    """Run a fine-tuning.

    Returns:
        The outcome as a sentence; the version, promoted or not, is stored on the run.

    Raises:
        RunError: there are no examples to train on, or training failed.
        RunCancelled: the run was cancelled; nothing of it is kept.
        RunLost: another worker has taken over the run.
        LabelStudioError: Label Studio refuses, or has not answered for half an hour.
        CheckpointError: the champion does not load.
    """
    project, report = context.project(attempt.run.project_id), _Reporter(attempt)
    with scratch_directory(context.home.runs / attempt.run.id, attempt.number), report.explaining_stop():
        report("reading corrections")
        version = attempt.run.version
        if version is None:  # else an earlier attempt ended while the version was being promoted
            version = _prepare(context, project, attempt, report).make_version()
        return _outcome(context, attempt, project, version)


@dataclass(frozen=True)
class _Plan:
    """The inputs of a run, the same for all its attempts."""

    snapshot: Snapshot
    champion: VersionInfo
    styles: ProjectStyles = ProjectStyles()

    @property
    def identity(self) -> dict[str, Any]:
        return {"snapshot": self.snapshot.hash, "champion": self.champion.version, "styles": asdict(self.styles)}

    @classmethod
    def read(cls, context: Context, project: Project, scratch: Path) -> "_Plan | None":
        begun = read_json(scratch / PLAN)
        if not begun:
            return None
        snapshot = corrections.read_snapshot(context.home.datasets / f"{begun['snapshot']}.jsonl")
        # A run that was begun by a release without styles has none in its plan.
        styles = ProjectStyles(**begun.get("styles", {}))
        return cls(snapshot, context.versions.get(project.id, begun["champion"]), styles)


def _prepare(context: Context, project: Project, attempt: Attempt, report: "_Reporter") -> "_FinetuneRun":
    """Determine the inputs of the run, waiting for Label Studio if necessary."""
    scratch = context.home.attempt(attempt.run.id, attempt.number)
    patience = Patience(attempt)
    with context.label_studio.telling_of_retries(patience.say_waiting):
        plan = _Plan.read(context, project, scratch) or _make_plan(context, project, scratch, report, patience)
        chosen = patience.until_done(partial(chosen_settings, context, project, attempt.run.settings))
    settings = FinetuneSettings.from_dict({"prompt": plan.champion.generation.prompt, **chosen})
    return _FinetuneRun(context, attempt, plan, _training(context, attempt, plan, settings, report))


def _make_plan(context: Context, project: Project, scratch: Path, report: "_Reporter", patience: Patience) -> _Plan:
    def read(done: int, total: int) -> None:
        patience.got_through()
        report("reading corrections", done / max(total, 1))

    snapshot = patience.until_done(partial(take_snapshot, context, project, read))
    context.versions.ensure_champion(project.id, context.base)
    with context.database.reading() as session:
        styles = ProjectStyles.of(session, project.id)
    plan = _Plan(snapshot, context.versions.champion(project.id), styles)
    write_json(scratch / PLAN, plan.identity)
    return plan


@dataclass(frozen=True)
class _FinetuneRun:
    """An attempt at a run, with its inputs."""

    context: Context
    attempt: Attempt
    plan: _Plan
    training: Finetuning

    def make_version(self) -> str:
        """Train, compare, judge and store the version; returns its name.

        Raises:
            RunError: all images are held out.
        """
        trained = self.train()
        verdict = self.training.compare(trained)
        self.training.report("deciding")
        return self._keep(trained, verdict)

    def train(self) -> Trained:
        """Train, in this process or in several, and save the new model to the run's directory."""
        settings = self.context.settings
        if settings.processes == 1:
            return self.training.fit()
        self.training.encoded(*self.training.examples())  # into the cache, for all
        found = in_processes(
            _fit_in_process,
            self.attempt.run.id,
            self.attempt.number,
            self.training.settings.to_dict(),
            processes=settings.processes,
            device=settings.device,
            scratch=self.training.files.parent / "processes",
            log_level=settings.log_level,
            log_format=settings.log_format,
        )
        return Trained(**found)

    def _keep(self, trained: Trained, verdict: Verdict) -> str:
        """Store the new model as a version; returns its name."""
        return self.context.versions.create(
            self.attempt.run.project_id,
            partial(_copy_files, self.training.files),
            lineage=Lineage(
                parent=self.plan.champion.version,
                snapshot=self.plan.snapshot.hash,
                corrections=trained.examples,
                new_tokens=trained.new_tokens,
                settings=trained.settings,
                metrics=figures(verdict),
                reason=verdict.reason,
                state=VersionState.CANDIDATE if verdict.promote else VersionState.REJECTED,
            ),
            generation=GenerationSettings.from_dict(trained.generation),
            also=self.attempt.made,
        )


def _training(
    context: Context, attempt: Attempt, plan: _Plan, settings: FinetuneSettings, report: "_Reporter"
) -> Finetuning:
    home, run_id, champion = context.home, attempt.run.id, plan.champion
    scratch = home.attempt(run_id, attempt.number)
    return Finetuning(
        snapshot=plan.snapshot,
        champion=context.captioner(champion),
        source=champion.path,
        learnt=learnt_by(context, champion),
        settings=settings,
        pictures=context.pictures,
        files=scratch / VERSION,  # the version's directory before it is one
        state=TrainingState(scratch / STATE, identity(plan.snapshot, champion.version, settings)),
        log=lambda: TrainingLog(
            scratch / VERSION,
            tensorboard=home.tensorboard / run_id,
            pictures=context.pictures.open,
            trackers=Trackers(run_id, environment=os.environ, directory=home.trackers / run_id),
        ),
        report=report,
        rule=context.gate,
        style=plan.styles.current,
        open_styles=plan.styles.open,
    )


def _fit_in_process(run_id: str, number: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Training in each process of a group, with its own context; the run has prepared the inputs."""
    with belonging_to(job=run_id), opened() as context:
        attempt = context.queue.runs.attempt(run_id, number)
        plan = _Plan.read(context, context.project(attempt.run.project_id), context.home.attempt(run_id, number))
        assert plan is not None  # the run made it before it called us
        chosen, report = FinetuneSettings.from_dict(settings), _OfOneProcess(attempt)
        with report.explaining_stop():
            return asdict(_training(context, attempt, plan, chosen, report).fit())


class _Reporter:
    """Reports progress; each call also checks for cancellation and loss of the run."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._reason: RunCancelled | RunLost | None = None

    def __call__(self, stage: str, share: float = 0.0, **detail: Any) -> None:
        begin = _STAGES[stage]
        end = min((later for later in _STAGES.values() if later > begin), default=1.0)
        self._attempt.report(begin + share * (end - begin), stage=stage, **detail)

    def training(self, progress: TrainingProgress) -> None:
        """Checks both, but reports them by `is_cancelled`, since processes that train together must end together."""
        try:
            self(
                "training",
                progress.step / progress.steps,
                step=progress.step,
                steps=progress.steps,
                loss=progress.loss,
                seconds_left=progress.seconds_left,
                examples_per_second=progress.examples_per_second,
            )
        except (RunCancelled, RunLost) as reason:
            self._reason = reason

    def is_cancelled(self) -> bool:
        return self._reason is not None

    @contextmanager
    def explaining_stop(self) -> Iterator[None]:
        """For training that was ended by `is_cancelled`: distinguish a lost run from a cancelled one.

        Raises:
            RunLost: another worker has taken over the run.
        """
        try:
            yield
        except RunCancelled:
            if isinstance(self._reason, RunLost):
                raise self._reason from None
            raise


class _OfOneProcess(_Reporter):
    """Reports the training only, since the run reports the rest for all of its processes."""

    def __call__(self, stage: str, share: float = 0.0, **detail: Any) -> None:
        if stage == "training":
            super().__call__(stage, share, **detail)


def _outcome(context: Context, attempt: Attempt, project: Project, version: str) -> str:
    """Promote the version if the gate accepted it; returns the outcome, for people.

    Raises:
        NotFoundError: it was deleted since an earlier attempt made it.
        RunLost: another worker has taken over the run, and does the same.
    """
    made = context.versions.get(project.id, version)
    if made.state == VersionState.REJECTED:
        outcome = f"{version} was made and not promoted. {made.reason}"
    elif promote(context, project, version, reason=made.reason, expected=made.parent, also=attempt.hold):
        outcome = f"{version} is the champion now. {made.reason}"
    else:
        outcome = (
            f"{version} is better than {made.parent}, with which it was compared, but another version became "
            f"champion meanwhile. `captionloop promote {version}` makes it champion all the same."
        )
    judged_in = in_style(made.generation.named_style)
    return outcome + (f" Judged {judged_in}." if judged_in else "") + _expectation(made.corrections)


def _expectation(examples: int) -> str:
    if examples >= _FEW:
        return ""
    return (
        f" It learnt from {examples} captions only: that is enough for a wording that many captions share, not for new "
        "words. 20 are few, 60 are good."
    )


def _copy_files(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)
