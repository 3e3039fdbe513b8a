"""`Room`: the facade of database, stores, queue and Label Studio that pages and API use."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionloop.backend.access.people import People
from captionloop.backend.health.checkups import Checkups
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.projects.project_rows import Projects
from captionloop.backend.serving.caption_service import CaptionService
from captionloop.backend.serving.loaded_versions import LoadedVersions
from captionloop.backend.serving.version_checks import VersionChecks
from captionloop.errors import LabelStudioError, NotFoundError
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.project import change_styles, edit_caption, promotion
from captionloop.jobs.project.change_settings import change_settings, choose_control
from captionloop.jobs.queue.runs import Requested, Runs
from captionloop.model.database import Correction, Database, NamedSettings, Project, ReviewAction, Run, RunKind
from captionloop.model.dataset.near_duplicates import near_duplicates
from captionloop.model.dataset.problem_watch import PATIENCE_S, KnownProblems, ProblemWatch
from captionloop.model.training import named_settings
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.versions.manifest import verify_files
from captionloop.model.versions.store import VersionInfo, VersionStore
from captionloop.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from captionloop.model.captioning.captioner import Captioner

_RUNS_LOOKED_AT = 20
_COUNT_WITHIN_S = 2.0


@dataclass(frozen=True)
class TaskCounts:
    """A project's tasks in Label Studio: all, and those with a submitted annotation."""

    all: int
    annotated: int


@dataclass(frozen=True)
class Room:
    """The services behind the pages. `context` and `service` are owned by the caller.

    Args:
        patience_s: how long a page waits for background results, in seconds.
    """

    context: Context
    service: CaptionService
    loaded: LoadedVersions = field(default_factory=LoadedVersions)  # beside the champions
    patience_s: float = PATIENCE_S

    @property
    def settings(self) -> Settings:
        return self.context.settings

    @property
    def home(self) -> Home:
        return self.context.home

    @property
    def database(self) -> Database:
        return self.context.database

    @property
    def versions(self) -> VersionStore:
        return self.context.versions

    @cached_property
    def checkups(self) -> Checkups:
        return Checkups(self.settings)

    @cached_property
    def people(self) -> People:
        """Who has signed in with Label Studio."""
        return People(self.database, self.context.seal, url=self.settings.label_studio_url)

    @property
    def runs(self) -> Runs:
        return self.context.queue.runs

    @property
    def worker_log(self) -> Path:
        """The log file of a worker that `captionloop up` started."""
        return self.home.logs / "worker.log"

    @property
    def projects(self) -> Projects:
        return self.service.projects

    def project(self, number: int) -> Project:
        """A connected project by its number in Label Studio.

        Raises:
            NotFoundError: it is not connected.
        """
        return self.projects.choose(number)

    def champion(self, project: Project) -> VersionInfo:
        """The version that serves a project; the base if there is none yet.

        Raises:
            CheckpointError: there is no BLIP at the base's source.
        """
        try:
            return self.versions.champion(project.id)
        except NotFoundError:
            self.versions.ensure_champion(project.id, self.context.base)
            return self.versions.champion(project.id)

    @contextmanager
    def captioner(self, project: Project, version: VersionInfo) -> "Iterator[Captioner]":
        """The model of a version: the serving one, or loaded temporarily.

        Raises:
            CheckpointError: its files are damaged or gone.
        """
        with self.service.champions.lease(project.id) as serving:
            if serving.version == version.version:
                yield serving.captioner
                return
        with self.loaded.lease(version, self.context.captioner) as captioner:
            yield captioner

    def damage(self, versions: Sequence[VersionInfo]) -> Mapping[str, str]:
        """Damage of the versions with damaged files, as far as known."""
        return self._version_checks.damage(versions, patience_s=self.patience_s)

    @cached_property
    def _version_checks(self) -> VersionChecks:
        return VersionChecks(verify_files)

    def problems_of_dataset(self, project: Project, *, patience_s: float | None = None) -> KnownProblems:
        """The problems of a project's dataset, as far as known after `patience_s` seconds.

        Args:
            patience_s: None: the room's.

        Raises:
            CheckpointError: the champion's tokenizer cannot be read.
        """
        champion = self.champion(project)
        return self._problem_watch.problems(
            project.id,
            vocabulary=champion.version,
            open_vocabulary=lambda: _learnable_with(self.context.tokenizer(champion)),
            patience_s=self.patience_s if patience_s is None else patience_s,
        )

    @cached_property
    def _problem_watch(self) -> ProblemWatch:
        return ProblemWatch(self.database, self.home, near_duplicates=near_duplicates)

    def promote(self, project: Project, version: str, *, by: str) -> None:
        """Make a version champion and notify.

        Raises:
            NotFoundError: the project has no such version.
            CheckpointError: its files are damaged or gone.
        """
        promotion.promote(self.context, project, version, reason=f"promoted by {by}")

    def rollback(self, project: Project) -> str:
        """Make the previous champion champion again; returns its name.

        Raises:
            NotFoundError: there is no previous champion.
            CheckpointError: the files of that one are damaged or gone.
        """
        return promotion.rollback(self.context, project)

    def start_run(
        self, project: Project, settings: Mapping[str, Any], *, by: str, named: str | None = None
    ) -> Requested:
        """Request a fine-tuning run.

        Args:
            settings: overrides.
            named: the name of saved settings for the others.

        Raises:
            SettingsError: one of them is invalid.
            NotFoundError: the project has no settings of that name.
            ServiceError: Redis does not answer.
        """
        FinetuneSettings.from_dict(settings)
        if named is not None:
            self.named_settings(project, named)
            settings = {**settings, named_settings.KEY: named}
        return self.context.queue.request(project.id, RunKind.FINETUNE, asked_by=by, settings=settings)

    def caption_project(self, project: Project, *, by: str) -> Requested:
        """Request a captioning run for the unlabelled tasks without the champion's suggestion.

        Raises:
            ServiceError: Redis does not answer. The run is stored and starts once it does.
        """
        return self.context.queue.request(project.id, RunKind.ANNOTATE, asked_by=by)

    def change_settings(self, project: Project, pairs: Iterable[str], *, by: str) -> None:
        """Change a project's settings; see `jobs.project.change_settings` for arguments and errors."""
        change_settings(self.context, project, pairs, by=by)

    def choose_control(self, project: Project, name: str) -> None:
        """Choose the text box for captions; see `change_settings.choose_control` for errors."""
        choose_control(self.context, project, name)

    def begin_style(
        self,
        project: Project,
        name: str,
        *,
        since: datetime | None = None,
        from_correction: int | None = None,
        language: str | None = None,
    ) -> int:
        """Begin a style; see `change_styles.begin_style` for arguments, result and errors."""
        return change_styles.begin_style(
            self.context, project, name, since=since, from_correction=from_correction, language=language
        )

    def end_style(self, project: Project, name: str) -> str | None:
        """End a style; see `styles.end_style` for the result and errors."""
        return change_styles.end_style(self.context, project, name)

    def rename_style(self, project: Project, name: str, *, to: str) -> None:
        """Give a style another name; see `change_styles.rename_style` for errors."""
        change_styles.rename_style(self.context, project, name, to=to)

    def edit_captions(self, project: Project, correction: int, captions: Sequence[str], *, by: str) -> Correction:
        """Write other captions to Label Studio; see `edit_caption.edit_captions` for arguments, result and errors."""
        return edit_caption.edit_captions(self.context, project, correction, captions, by=by)

    def undo_review(self, project: Project, *, by: str) -> ReviewAction | None:
        """Undo a reviewer's last decision; see `edit_caption.undo` for the result and errors."""
        return edit_caption.undo(self.context, project, by=by)

    def start_again(self, project: Project, run: Run, *, by: str) -> Requested:
        """Request a run of the same kind with the same settings as a finished one.

        Raises:
            SettingsError: a setting is no longer valid.
            NotFoundError: its saved settings are gone.
            ServiceError: Redis does not answer.
        """
        if run.kind is RunKind.FINETUNE:
            settings = dict(run.settings)
            named = settings.pop(named_settings.KEY, None)
            return self.start_run(project, settings, by=by, named=named)
        return self.context.queue.request(project.id, run.kind, asked_by=by, settings=run.settings)

    def all_named_settings(self, project: Project) -> Sequence[NamedSettings]:
        """A project's saved settings, oldest first."""
        with self.database.reading() as session:
            return named_settings.all_of(session, project.id)

    def named_settings(self, project: Project, name: str) -> Mapping[str, Any]:
        """A project's saved settings of a name.

        Raises:
            NotFoundError: there are none of that name.
        """
        with self.database.reading() as session:
            return named_settings.read(session, project.id, name)

    def run(self, project: Project, run_id: str) -> Run:
        """A run of this project.

        Raises:
            NotFoundError: the project has no such run.
        """
        run = self.runs.get(run_id)
        if run is None or run.project_id != project.id:
            raise NotFoundError(f"There is no run {run_id!r} in this project.")
        return run

    def cancel_run(self, project: Project, run_id: str) -> Run:
        """Cancel a run of this project; returns its new state.

        Raises:
            NotFoundError: the project has no such run.
        """
        return self.runs.cancel(self.run(project, run_id).id)

    def request_comparison(self, project: Project, first: str, second: str, *, by: str) -> Run:
        """Request a comparison of two versions, the older one first; returns the run.

        Raises:
            ServiceError: Redis does not answer. The run is stored and starts once it does.
        """
        settings = {"pairs": [[first, second]]}
        return self.context.queue.request(project.id, RunKind.COMPARE, asked_by=by, settings=settings).run

    def comparison_run(self, project: Project, first: str, second: str) -> Run | None:
        """The newest comparison run of these two versions; None if there is no recent one."""
        runs = self.runs.latest(project.id, RunKind.COMPARE, count=_RUNS_LOOKED_AT)
        return next((run for run in runs if [first, second] in run.settings["pairs"]), None)

    def unlabelled_tasks(self, project: Project) -> int | None:
        """Label Studio's count of tasks without annotation; None if it is slow or does not answer."""
        counts = self.task_counts(project)
        return None if counts is None else max(counts.all - counts.annotated, 0)

    def task_counts(self, project: Project) -> TaskCounts | None:
        """Label Studio's counts of a project's tasks; None if it is slow or does not answer."""
        url, key = self.settings.label_studio_url, self.settings.label_studio_api_key
        if url is None or key is None:
            return None
        studio = LabelStudio(url, key.reveal(), retry_delays_s=())
        try:
            found = studio.project(project.label_studio_id, timeout_s=_COUNT_WITHIN_S)
            return TaskCounts(int(found["task_number"]), int(found["num_tasks_with_annotations"]))
        except (LabelStudioError, KeyError):
            return None
        finally:
            studio.close()

    def close(self) -> None:
        """Stop background threads; call it before closing the context."""
        self._problem_watch.close()
        self.people.close()

    def label_studio_project(self, project: Project) -> str:
        """The address of the project's task list in Label Studio."""
        return f"{self.settings.label_studio_url}/projects/{project.label_studio_id}/data"

    def label_studio_task(self, project: Project, task_id: int) -> str:
        """The address of a task in Label Studio."""
        return f"{self.label_studio_project(project)}?task={task_id}"


def _learnable_with(tokenizer: "PreTrainedTokenizerBase") -> Callable[[str], bool]:
    """Whether a run can teach a caption to the model that has this tokenizer."""
    from captionloop.model.vocabulary.learnable import is_learnable  # only now: transformers takes seconds to import

    return partial(is_learnable, tokenizer)
