"""The versions of a project: what descends from what, how good each is, and what can be done with it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Response, flash, redirect, render_template, request, stream_with_context, url_for
from werkzeug.wrappers import Response as AnyResponse

from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.blueprint import pages
from captionloop.backend.pages.frame import render
from captionloop.backend.pages.lineage import LineageDrawing, lineage
from captionloop.backend.pages.room import Room, current_room
from captionloop.backend.pages.tables import DataTable
from captionloop.backend.report_page import kept_report
from captionloop.errors import CheckpointError
from captionloop.model.database import Project
from captionloop.model.evaluation.calibration import chances
from captionloop.model.versions.export import zip_of
from captionloop.model.versions.manifest import read_manifest
from captionloop.model.versions.store import VersionInfo

# The report has its style and its pictures within itself, and neither script nor form.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@dataclass(frozen=True)
class HeldOutFigures:
    """How good a version's captions of the held-out images of its run were.

    Args:
        images: how many those were.
        score: CIDEr-D (0 to 10) + BLEU-4 (0 to 1).
        exact: share of captions written exactly as a person did.
        words_to_change: words a person would have to change, per word of the nearest human caption.
        difference: in the score from the champion of the time; None where none was compared.
        interval: 95 % interval of the difference.
    """

    images: int
    score: float
    exact: float
    words_to_change: float
    difference: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class VersionRow:
    """A version with its figures.

    Args:
        info: the version itself.
        figures: None for a base, and where none were kept.
        size_bytes: of its directory; None when it was deleted.
        is_base: projects start from it; it is neither pinned nor deleted.
        is_rollback_target: a rollback from the champion leads to it.
        rival: what to compare it with: the champion, and that with what it was made from; None where that is gone.
        damage: what is wrong with its files, and what to do; None where nothing is, as far as is known.
    """

    info: VersionInfo
    figures: HeldOutFigures | None
    size_bytes: int | None
    is_base: bool
    is_rollback_target: bool
    rival: str | None
    damage: str | None

    @property
    def why(self) -> str:
        """The reason without its figures, which stand in brackets."""
        return self.info.reason.partition(" (")[0]

    @property
    def is_deleted(self) -> bool:
        return self.info.deleted_at is not None

    @property
    def is_champion(self) -> bool:
        return self.info.state == "champion"

    @property
    def may_be_promoted(self) -> bool:
        return not (self.is_deleted or self.is_champion or self.damage)

    @property
    def may_be_deleted(self) -> bool:
        return not (self.is_deleted or self.is_champion or self.is_base or self.info.pinned)


@dataclass(frozen=True)
class VersionsPage:
    """All versions of a project, the newest first, deleted ones included; the drawing; who serves, and who did before.

    Args:
        rollback_target: where a rollback leads; None when there is nothing to go back to.
    """

    versions: Sequence[VersionRow]
    lineage: LineageDrawing
    champion: str
    rollback_target: str | None

    def of(self, version: str) -> VersionRow:
        return next(row for row in self.versions if row.info.version == version)


def read_versions(room: Room, project: Project) -> VersionsPage:
    """Gather the versions of a project."""
    champion = room.champion(project).version
    target = room.versions.rollback_target(project.id)
    infos = room.versions.all_of(project.id, with_deleted=True)
    there = {info.version for info in infos if info.deleted_at is None}
    damage = room.damage(infos)
    rows = [
        VersionRow(
            info=info,
            figures=held_out_figures(info.metrics),
            size_bytes=None if info.deleted_at else _size_bytes(info.path),
            is_base=info.parent is None,
            is_rollback_target=info.version == target,
            rival=_rival(info, champion, there),
            damage=damage.get(info.version),
        )
        for info in infos
    ]
    return VersionsPage(rows[::-1], lineage(infos), champion, target)


def _rival(info: VersionInfo, champion: str, there: Collection[str]) -> str | None:
    rival = info.parent if info.version == champion else champion
    return rival if info.version in there and rival in there else None


def held_out_figures(metrics: Mapping[str, Any]) -> HeldOutFigures | None:
    """The figures that a run kept with its version; None where it kept none."""
    if not {"cider_d", "bleu_4", "exact_match", "word_edit_rate"} <= metrics.keys():
        return None
    gate = metrics.get("gate") or {}
    return HeldOutFigures(
        images=int(metrics.get("images", 0)),
        score=float(metrics["cider_d"]) + float(metrics["bleu_4"]),
        exact=float(metrics["exact_match"]),
        words_to_change=float(metrics["word_edit_rate"]),
        difference=gate.get("difference"),
        interval=tuple(gate["interval"]) if "interval" in gate else None,
    )


@pages.get("/projects/<int:number>/versions")
def versions(number: int) -> str | Response:
    room = current_room()
    project = room.project(number)
    shown = read_versions(room, project)
    if wanted := _table(shown).download(request.args.get("format"), name=f"model-versions-of-project-{number}"):
        return wanted
    return render("versions.html", project, page=shown)


@pages.get("/projects/<int:number>/versions/<name>")
def versions_one(number: int, name: str) -> str:
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
        row=row,
        settings=dict(facts.get("settings") or {}),
        generation={name: value for name, value in row.info.generation.to_dict().items() if value not in (None, "")},
        files=0 if row.is_deleted else len(facts.get("files") or {}),
    )


@pages.get("/projects/<int:number>/versions/<name>/reach")
def reach(number: int, name: str) -> str:
    """What a promotion of this version would do, in a sentence; asked for when somebody is about to press the button.

    Label Studio counts the tasks, and where it is slow to answer the sentence does without the number.
    """
    room = current_room()
    project = room.project(number)
    row = room.versions.get(project.id, name)
    return render_template("parts/reach.html", version=row, unlabelled=room.unlabelled_tasks(project))


@pages.get("/projects/<int:number>/versions/<name>/report")
def report(number: int, name: str) -> Response:
    room = current_room()
    project = room.project(number)
    info = room.versions.get(project.id, name)
    with room.database.reading() as session:
        known = chances(session, project.id, name)
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
    """Pin a version, or unpin it when the form says `pinned=no`."""
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
    """What a version's manifest says; nothing where that is lost, which the page tells anyway."""
    try:
        return read_manifest(info.path)
    except CheckpointError:
        return {}


def _back(number: int, name: str | None = None) -> AnyResponse:
    address = (
        url_for("pages.versions_one", number=number, name=name) if name else url_for("pages.versions", number=number)
    )
    return redirect(address)


def _size_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _table(shown: VersionsPage) -> DataTable:
    columns = (
        "version", "state", "parent", "made", "held_out_images", "cider_d_plus_bleu_4", "exactly_right",
        "words_to_change", "difference_from_champion", "difference_low", "difference_high", "snapshot", "corrections",
        "size_bytes", "pinned", "deleted", "reason",
    )  # fmt: skip
    return DataTable(columns, [_cells(row) for row in shown.versions])


def _cells(row: VersionRow) -> Sequence[Any]:
    info, figures = row.info, row.figures
    low, high = (figures.interval if figures else None) or (None, None)
    return (
        info.version, info.state, info.parent, info.created_at, figures and figures.images, figures and figures.score,
        figures and figures.exact, figures and figures.words_to_change, figures and figures.difference, low, high,
        info.snapshot, info.corrections, row.size_bytes, info.pinned, info.deleted_at, info.reason,
    )  # fmt: skip
