"""Versions: lineage, metrics, and actions."""

from collections.abc import Mapping
from typing import Any

from flask import Response, flash, redirect, render_template, request, stream_with_context, url_for
from werkzeug.wrappers import Response as AnyResponse

from captionloop.backend.page_data.versions import read_versions, versions_table
from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.downloads import download
from captionloop.backend.pages.frame import render
from captionloop.backend.pages.lineage import lineage
from captionloop.backend.report_page import kept_report
from captionloop.errors import CheckpointError
from captionloop.model.dataset.styles import current_style_id
from captionloop.model.evaluation.calibration import chances
from captionloop.model.versions.export import zip_of
from captionloop.model.versions.manifest import read_manifest
from captionloop.model.versions.store import VersionInfo

# The report has its style and its pictures within itself, and neither script nor form.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@pages.get("/projects/<int:number>/versions")
def versions(number: int) -> str | Response:
    room = current_room()
    project = room.project(number)
    shown = read_versions(room, project)
    name = f"model-versions-of-project-{number}"
    if wanted := download(versions_table(shown), request.args.get("format"), name=name):
        return wanted
    return render("versions.html", project, page=shown, drawing=lineage(shown.infos))


@pages.get("/projects/<int:number>/versions/<name>")
def versions_one(number: int, name: str) -> str:
    """One version: where it comes from, its settings and files, and what can be done with it."""
    room = current_room()
    project = room.project(number)
    room.versions.get(project.id, name, with_deleted=True)
    shown = read_versions(room, project)
    row = shown.of(name)
    facts = {} if row.is_deleted else _facts(row.info)
    return render(
        "version.html",
        project,
        page=shown,
        drawing=lineage(shown.infos),
        row=row,
        settings=dict(facts.get("settings") or {}),
        generation={name: value for name, value in row.info.generation.to_dict().items() if value not in (None, "")},
        files=0 if row.is_deleted else len(facts.get("files") or {}),
    )


@pages.get("/projects/<int:number>/versions/<name>/reach")
def reach(number: int, name: str) -> str:
    """What a promotion of this version would do, in a sentence, loaded when the button gets the focus.

    Label Studio counts the tasks; if it is slow the sentence has no number.
    """
    room = current_room()
    project = room.project(number)
    row = room.versions.get(project.id, name)
    return render_template("parts/reach.html", version=row, unlabelled=room.unlabelled_tasks(project))


@pages.get("/projects/<int:number>/versions/<name>/report")
def report(number: int, name: str) -> Response:
    """A version's report; `?download` as a file."""
    room = current_room()
    project = room.project(number)
    info = room.versions.get(project.id, name)
    with room.database.reading() as session:
        known = chances(session, project.id, name, style_id=current_style_id(session, project.id))
    response = Response(kept_report(info, room.home, chances=known), mimetype="text/html")
    response.headers["Content-Security-Policy"] = _REPORT_POLICY
    if "download" in request.args:
        response.headers["Content-Disposition"] = f'attachment; filename="report-of-{name}.html"'
    return response


@pages.get("/projects/<int:number>/versions/<name>/export")
def export(number: int, name: str) -> Response:
    """The model as a zip archive; unpacked, `from_pretrained` loads it."""
    room = current_room()
    info = room.versions.get(room.project(number).id, name)
    response = Response(stream_with_context(zip_of(info)), mimetype="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.zip"'
    return response


@pages.post("/projects/<int:number>/versions/<name>/promote")
def promote(number: int, name: str) -> AnyResponse:
    room = current_room()
    room.promote(room.project(number), name, by=visitor().name)
    flash(f"{name} is the champion now. Suggestions of unlabelled tasks are being renewed.")
    return _back(number)


@pages.post("/projects/<int:number>/versions/<name>/pin")
def pin(number: int, name: str) -> AnyResponse:
    """Pin a version, or unpin it with `pinned=no`."""
    room = current_room()
    pinned = request.form.get("pinned") != "no"
    room.versions.pin(room.project(number).id, name, pinned=pinned)
    flash(f"{name} is pinned: it cannot be deleted." if pinned else f"{name} is no longer pinned.")
    return _back(number, name)


@pages.post("/projects/<int:number>/versions/<name>/delete")
def delete(number: int, name: str) -> AnyResponse:
    room = current_room()
    knows = request.form.get("even_rollback_target") == "yes"
    room.versions.delete(room.project(number).id, name, even_rollback_target=knows)
    flash(f"{name} is deleted: its files are gone. What is known about it stays on this page.")
    return _back(number)


def _facts(info: VersionInfo) -> Mapping[str, Any]:
    """The facts of a version's manifest; empty if that is lost, which the page shows anyway."""
    try:
        return read_manifest(info.path)
    except CheckpointError:
        return {}


def _back(number: int, name: str | None = None) -> AnyResponse:
    address = (
        url_for("pages.versions_one", number=number, name=name) if name else url_for("pages.versions", number=number)
    )
    return redirect(address)
