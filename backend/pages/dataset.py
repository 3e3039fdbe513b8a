"""Dataset: the gallery of all corrections, and decisions about problems."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import flash, redirect, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from captionloop.backend.page_data.dataset import DatasetFilter, annotators_table, dataset_table, read_dataset
from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.arguments import YES_NO, number_in, one_of, search_of
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.downloads import download
from captionloop.backend.pages.frame import render
from captionloop.model.database import Project
from captionloop.model.dataset import gallery, review
from captionloop.model.dataset.gallery import HELD_OUT, STATES, TRAIN
from captionloop.model.dataset.problems import ProblemKind
from captionloop.model.dataset.task_notes import newest_notes

_KINDS = {kind.value: kind for kind in ProblemKind}


@dataclass(frozen=True)
class DatasetQuery(DatasetFilter):
    """The parsed query."""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> "DatasetQuery":
        """
        Raises:
            BadRequest: an invalid value, which the message names.
        """
        return cls(
            state=one_of(given, "state", {state: state for state in STATES}),
            split=one_of(given, "split", {split: split for split in (TRAIN, HELD_OUT)}),
            problem=one_of(given, "problem", _KINDS),
            text=search_of(given, "text"),
        )

    @property
    def arguments(self) -> dict[str, Any]:
        given = {
            "text": self.text, "state": self.state, "split": self.split, "problem": self.problem and self.problem.value,
        }  # fmt: skip
        return {name: value for name, value in given.items() if value}

    def address(self, number: int, **more: Any) -> str:
        return url_for("pages.dataset", number=number, **self.arguments, **more)


@pages.get("/projects/<int:number>/dataset")
def dataset(number: int) -> str | Response:
    """The corrections, filtered; `?format=` downloads them, `?table=annotators` the annotators."""
    room = current_room()
    project = room.project(number)
    query = DatasetQuery.read(request.args)
    if any(not value for value in request.args.values()):  # forms also send empty fields
        return redirect(query.address(number))
    name = f"dataset-of-project-{number}"
    if request.args.get("table") == "annotators":
        table, name = annotators_table(room, project), f"annotators-{name}"
    else:
        table = dataset_table(room, project, query)
    if wanted := download(table, request.args.get("format"), name=name):
        return wanted
    with room.database.reading() as session:
        notes = newest_notes(session, project.id)
    return render(
        "dataset.html",
        project,
        notes=notes,
        dataset=read_dataset(room, project, query, page=number_in(request.args, "page") or 1),
        query=query,
        states=STATES,
        tasks=partial(room.label_studio_task, project),
    )


@pages.post("/projects/<int:number>/dataset/<int:item>")
def set_training(number: int, item: int) -> Response:
    """Leave a correction out of training, or undo that."""
    room = current_room()
    project = room.project(number)
    left_out = bool(one_of(request.form, "left_out", YES_NO))
    with room.database.session() as session:
        review.decide(session, project.id, item, by=visitor().name, left_out=left_out)
    flash("Left out of training." if left_out else "Used for training again.")
    return _back(number)


@pages.post("/projects/<int:number>/dataset/dismissals")
def dismiss(number: int) -> Response:
    """Dismiss a problem."""
    room = current_room()
    project = room.project(number)
    kind, subject = one_of(request.form, "kind", _KINDS), request.form.get("subject", "")
    if not kind or not subject:
        raise BadRequest("Nothing was dismissed; expected the kind of a problem and its subject.")
    with room.database.session() as session:
        gallery.dismiss(session, project.id, kind, subject, by=visitor().name)
    flash("This will not be shown as a problem again.")
    return _back(number)


@pages.post("/projects/<int:number>/dataset/dismissals/<int:dismissal>/take-back")
def take_back(number: int, dismissal: int) -> Response:
    """Show a dismissed problem again."""
    room = current_room()
    project = room.project(number)
    with room.database.session() as session:
        gallery.take_back(session, project.id, dismissal, by=visitor().name)
    flash("It stands among the problems again, if it still is one.")
    return _back(number)


@pages.post("/projects/<int:number>/dataset/annotators")
def show_annotators(number: int) -> Response:
    """Show or hide who corrected what, on all pages of the project."""
    room = current_room()
    project = room.project(number)
    shows = bool(one_of(request.form, "shows", YES_NO))
    with room.database.session() as session:
        session.get_one(Project, project.id).shows_annotators = shows
    flash("Annotators and their figures are shown." if shows else "Annotators are no longer named on these pages.")
    return _back(number)


def _back(number: int) -> Response:
    """Redirect to the page of the button."""
    page = number_in(request.args, "page")
    return redirect(DatasetQuery.read(request.args).address(number, **({"page": page} if page else {})))
