"""Overview: figures of the loop, the present run, and actions."""

from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as AnyResponse

from captionloop.backend.label_studio.controls import boxes_of
from captionloop.backend.page_data.overview import FEW_CORRECTIONS, Overview, figures_table, read_overview
from captionloop.backend.page_data.training_data import read_training_data
from captionloop.backend.pages.access import own_address, visitor
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.charts import VersionPoint, version_chart
from captionloop.backend.pages.downloads import download
from captionloop.backend.pages.frame import render
from captionloop.backend.pages.live import Shown, streamed
from captionloop.model.database import Run, RunKind, RunState
from captionloop.model.training import named_settings
from captionloop.model.training.settings import WAYS, read_pairs


@pages.get("/projects/<int:number>/")
def overview(number: int) -> str | Response:
    """A project at a glance; `?format=` downloads the versions' figures."""
    room = current_room()
    project = room.project(number)
    shown = read_overview(room, project)
    table = figures_table(shown.figures.versions)
    if wanted := download(table, request.args.get("format"), name=f"versions-of-project-{number}"):
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


@pages.post("/projects/<int:number>/train")
def train(number: int) -> AnyResponse:
    """Start a run. Empty fields get their defaults."""
    room = current_room()
    project = room.project(number)
    settings = read_pairs(f"{name}={value}" for name, value in request.form.items() if _is_setting(name) and value)
    named = request.form.get(named_settings.KEY) or None
    requested = room.start_run(project, settings, by=visitor().name, named=named)
    flash(requested.outcome)
    return _back(number)


@pages.get("/projects/<int:number>/training-data")
def training_data(number: int) -> str:
    """What a run would train on, in a sentence, loaded when its form is opened: counting it takes a moment."""
    room = current_room()
    project = room.project(number)
    return render_template(
        "parts/training_data.html", champion=room.champion(project), data=read_training_data(room, project)
    )


@pages.post("/projects/<int:number>/sync")
def sync(number: int) -> AnyResponse:
    room = current_room()
    room.context.queue.request_sync(room.project(number).id)
    flash("Corrections are being fetched from Label Studio. New ones show up here in a moment.")
    return redirect(url_for("pages.overview", number=number))


@pages.post("/projects/<int:number>/control")
def choose_control(number: int) -> AnyResponse:
    """Take another text box for captions, and read what was written in it."""
    room = current_room()
    project, name = room.project(number), request.form.get("control", "")
    if name not in boxes_of(project):
        raise BadRequest(
            f"The label config has no text box {name!r} any more. Go back and choose among those there are."
        )
    room.choose_control(project, name)
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
    """Server-sent events: `run` with the run's fragment each time it changes, `over` at its end.

    The project's present run, or that of `?run=`.
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
    """The result of cancelling a run."""
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
    """Redirect to the page of the form, else to the overview."""
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
