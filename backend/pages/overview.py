"""The overview of a project: is it getting better, and should somebody do something now?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from captionloop.backend.label_studio.controls import ControlQuestion, question_of
from captionloop.backend.pages.access import own_address, visitor
from captionloop.backend.pages.blueprint import pages
from captionloop.backend.pages.charts import VersionPoint, version_chart
from captionloop.backend.pages.frame import render
from captionloop.backend.pages.live import Shown, streamed
from captionloop.backend.pages.room import Room, current_room
from captionloop.backend.pages.tables import DataTable
from captionloop.model.database import Project, Run, RunKind, RunState
from captionloop.model.progress.loop_figures import LoopFigures, VersionFigures, loop_figures
from captionloop.model.progress.outlook import Outlook, stands
from captionloop.model.progress.outlook import outlook as outlook_of
from captionloop.model.training import named_settings
from captionloop.model.training.settings import WAYS, read_pairs
from captionloop.model.versions.store import VersionInfo

FEW_CORRECTIONS = 20  # below it a run is possible, but the page does not propose it


@dataclass(frozen=True)
class Overview:
    """What the overview shows.

    Args:
        champion: the version that serves.
        figures: of the loop, per version.
        run: the one in progress, or the last one; None before any.
        previous: figures of the version that the champion's are compared with; None without one.
        outlook: what more corrections are likely to bring.
        question: what somebody has to decide about the text box that captions go into; None: nothing.
    """

    champion: VersionInfo
    figures: LoopFigures
    run: Run | None
    previous: VersionFigures | None
    outlook: Outlook
    question: ControlQuestion | None

    @property
    def current(self) -> VersionFigures | None:
        return self.figures.of(self.champion.version)

    @property
    def is_busy(self) -> bool:
        return self.run is not None and not self.run.state.is_over

    @property
    def proposes_training(self) -> bool:
        """Whether there is enough that is new."""
        return not self.is_busy and self.figures.new_corrections >= FEW_CORRECTIONS


def read_overview(room: Room, project: Project) -> Overview:
    """Gather the overview of a project."""
    champion = room.champion(project)
    versions = room.versions.all_of(project.id, with_deleted=True)
    with room.database.reading() as session:
        figures = loop_figures(session, project.id, versions)
    earlier = [found for found in figures.versions if found.version != champion.version and found.kept]
    return Overview(
        champion=champion,
        figures=figures,
        run=room.runs.current(project.id),
        previous=earlier[-1] if earlier else None,
        outlook=outlook_of(stands(versions, figures.versions), corrections=figures.corrections),
        question=question_of(project),
    )


@pages.get("/projects/<int:number>/")
def overview(number: int) -> str | Response:
    room = current_room()
    project = room.project(number)
    shown = read_overview(room, project)
    table = versions_table(shown.figures.versions)
    if wanted := table.download(request.args.get("format"), name=f"versions-of-project-{number}"):
        return wanted
    return render(
        "overview.html",
        project,
        overview=shown,
        kept_chart=_chart(shown, "kept"),
        words_chart=_chart(shown, "words_changed"),
        ways=WAYS,
        all_named=room.all_named_settings(project),
        few=FEW_CORRECTIONS,
    )


def versions_table(versions: Sequence[VersionFigures]) -> DataTable:
    """The charts' figures, to take away."""
    columns = ("version", "made", "suggested", "corrected", "kept", "kept_low", "kept_high", "words_changed")
    rows = [
        (
            found.version,
            found.created_at,
            found.suggested,
            found.corrected,
            found.kept.value if found.kept else None,
            found.kept.low if found.kept else None,
            found.kept.high if found.kept else None,
            found.words_changed.value if found.words_changed else None,
        )
        for found in versions
    ]
    return DataTable(columns, rows)


@pages.post("/projects/<int:number>/train")
def train(number: int) -> AnyResponse:
    """Start a run. Fields that are left empty take their defaults."""
    room = current_room()
    project = room.project(number)
    settings = read_pairs(f"{name}={value}" for name, value in request.form.items() if _is_setting(name) and value)
    named = request.form.get(named_settings.KEY) or None
    requested = room.start_run(project, settings, by=visitor().name, named=named)
    flash(requested.outcome)
    return _back(number)


@pages.post("/projects/<int:number>/sync")
def sync(number: int) -> AnyResponse:
    room = current_room()
    room.context.queue.request_sync(room.project(number).id)
    flash("Corrections are being fetched from Label Studio. New ones show up here in a moment.")
    return redirect(url_for("pages.overview", number=number))


@pages.post("/projects/<int:number>/control")
def choose_control(number: int) -> AnyResponse:
    room = current_room()
    name = request.form.get("control", "")
    room.choose_control(room.project(number), name)
    flash(f"Captions go into the text box {name}. What was written there is being read.")
    return _back(number)


@pages.post("/projects/<int:number>/annotate")
def annotate(number: int) -> AnyResponse:
    room = current_room()
    requested = room.caption_project(room.project(number), by=visitor().name)
    flash(requested.outcome)
    return _back(number)


@pages.post("/projects/<int:number>/rollback")
def rollback(number: int) -> AnyResponse:
    room = current_room()
    champion = room.rollback(room.project(number))
    flash(f"{champion} is the champion again. Suggestions of unlabelled tasks are being renewed.")
    return _back(number)


@pages.post("/projects/<int:number>/runs/<run_id>/cancel")
def cancel(number: int, run_id: str) -> AnyResponse:
    room = current_room()
    flash(_cancelled(room.cancel_run(room.project(number), run_id)))
    return _back(number)


@pages.get("/projects/<int:number>/live")
def live(number: int) -> Response:
    """Server-sent events: `run` with the run's part of the page each time it changes, `over` when it is over.

    The project's run of the moment, or the one that `?run=` names.
    """
    room = current_room()
    project = room.project(number)
    wanted = request.args.get("run")

    def look() -> Shown | None:
        run = room.runs.get(wanted) if wanted else room.runs.current(project.id)
        if run is None or run.state.is_over or run.project_id != project.id:
            return None
        return Shown((run.id, run.state, run.progress, run.detail), lambda: render_template("parts/run.html", run=run))

    return streamed(look)


def _cancelled(run: Run) -> str:
    """What became of the wish to cancel a run."""
    if run.state is RunState.CANCELLED:
        return "The run is cancelled; everything stays as it was before."
    if run.state.is_over:
        return "The run was over already; nothing was cancelled."
    so_far = {
        RunKind.FINETUNE: "what was trained so far is thrown away.",
        RunKind.ANNOTATE: "suggestions that are renewed already stay.",
        RunKind.COMPARE: "what was compared so far is thrown away.",
    }
    return f"The run stops at its next step; {so_far[run.kind]}"


def _back(number: int) -> AnyResponse:
    """To the page that a form says it stands on, else to the overview."""
    return redirect(own_address(request.form.get("back"), otherwise=url_for("pages.overview", number=number)))


def _is_setting(name: str) -> bool:
    return name not in {"csrf_token", "back", named_settings.KEY}


def _chart(shown: Overview, figure: str) -> Any:
    points = [
        VersionPoint(found.version, estimate.value, estimate.low, estimate.high, found.corrected)
        for found in shown.figures.versions
        if (estimate := getattr(found, figure)) is not None
    ]
    titles = {"kept": "captions kept unchanged", "words_changed": "words changed per caption"}
    return version_chart(points, title=titles[figure], is_share=figure == "kept", champion=shown.champion.version)
