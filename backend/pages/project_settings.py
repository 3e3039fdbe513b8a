"""Settings: text box, annotation order, earlier suggestions, automatic runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response

from captionloop.backend.label_studio.controls import boxes_of
from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.frame import render
from captionloop.errors import ServiceError, SettingsError
from captionloop.jobs.project.change_settings import CONTROL
from captionloop.model.active_learning.project_settings import AUTO, EMPTY_BOXES, ORDERS, ProjectSettings, settings_of
from captionloop.model.active_learning.strategies import STRATEGIES


@dataclass(frozen=True)
class Field:
    """A setting in the form.

    Args:
        name: of the setting.
        label, help: for people.
        choices: values and their labels; empty for free text.
        unset: the label of an empty field; empty if a value is required.
    """

    name: str
    label: str
    help: str
    choices: Sequence[tuple[str, str]] = ()
    unset: str = ""


_ORDERS = {
    "off": "off: Label Studio's own settings",
    "sampling": "in the strategy's order",
    "view": "a tab sorted by score",
}
_STRATEGIES = {
    "random": "random",
    "uncertainty": "the least sure captions first",
    "diversity": "pictures that are least alike first",
    AUTO: "by how far the champion is",
    "uncertainty_diversity": "the least sure of each sort of picture",
}
GROUPS: Mapping[str, Sequence[Field]] = {
    "What people are asked about": (
        Field(
            "order",
            "Order",
            "What makes people meet the chosen tasks first. In the strategy's order: Label All Tasks serves it, each "
            "task to one person at a time. The tab's Label Tasks As Displayed gives people who ask at the same time "
            "the same task, so it is for one annotator.",
            [(order, _ORDERS[order]) for order in ORDERS],
        ),
        Field(
            "strategy",
            "Strategy",
            "How the order is made. By how far the champion is: unlike pictures first; once it has learnt from "
            "corrections, the least sure captions.",
            [(name, _STRATEGIES.get(name, name)) for name in (AUTO, *STRATEGIES)],
        ),
        Field("random_share", "Share at random", "Of all that is asked, 0 to 0.5, so that evaluation stays unbiased."),
    ),
    "Suggestions": (
        Field(
            "earlier_suggestions",
            "Earlier suggestions kept",
            "Of other versions, by each unlabelled task. With 0, who has one on the screen must open the task again.",
        ),
    ),
    "When a run begins by itself": (
        Field("train_after", "After so many new corrections", "", unset="off"),
        Field(
            "train_below",
            "When people keep less than this share",
            "Of the champion's captions unchanged, 0 to 1.",
            unset="off",
        ),
        Field("train_window", "Corrections that the share is taken of", "So many new ones must have come as well."),
        Field(
            "train_at",
            "Each day at",
            "Such as 03:00, if there are new corrections.",
            unset="off",
        ),
        Field("time_zone", "… of this time zone", "Such as Europe/Berlin or UTC.", unset="that of the backend"),
    ),
}
_EMPTY = {"empty": "nothing", "caption": "the suggested caption"}
OTHER_BOXES = (
    Field(
        "other_boxes",
        "Other text boxes",
        "Names with commas between them. Captions are suggested in these and learnt from as well, each box in a style "
        "of its own.",
        unset="none",
    ),
    Field(
        "empty_boxes",
        "What stands in them at first",
        "Until a version has learnt from what people write there.",
        [(value, _EMPTY[value]) for value in EMPTY_BOXES],
    ),
)
_NAMES = [field.name for fields in (*GROUPS.values(), OTHER_BOXES) for field in fields]
_CONTROL_HELP = (
    "Suggestions go into this box of the label config, and what people write in it is learnt. When another one is "
    "chosen, what was written there is read instead; earlier captions stay in the history."
)


@pages.route("/projects/<int:number>/settings", methods=["GET", "POST"])
def project_settings(number: int) -> str | tuple[str, int] | Response:
    """The form; errors are shown beside their fields, and the input is kept."""
    room = current_room()
    project = room.project(number)
    typed = _shown(settings_of(project))
    control, boxes = project.control or "", boxes_of(project)
    problems: dict[str, str] = {}
    if request.method == "POST":
        typed |= {name: request.form[name].strip() for name in _NAMES if name in request.form}
        pairs = {name: f"{name}={text or 'off'}" for name, text in typed.items()}
        problems = {name: said for name, pair in pairs.items() if (said := _problem(pair))}
        chosen = request.form.get(CONTROL, "")
        if chosen not in {"", control}:
            pairs[CONTROL], control = f"{CONTROL}={chosen}", chosen
            if chosen not in boxes:
                problems[CONTROL] = f"The label config has no text box {chosen!r} any more."
        if not problems:
            try:
                room.change_settings(project, pairs.values(), by=visitor().name)
                flash("The settings are kept.")
            except ServiceError as error:
                flash(f"The settings are kept, but not carried out yet: {error}")
            return redirect(url_for("pages.overview", number=number))
    groups = {**_where_captions_go(control, boxes), **GROUPS}
    typed[CONTROL] = control if control in boxes else ""
    page = render("project_settings.html", project, groups=groups, typed=typed, problems=problems)
    return (page, 422) if problems else page


def _where_captions_go(control: str, boxes: Sequence[str]) -> Mapping[str, Sequence[Field]]:
    """The choice of a text box; empty before a label config is known."""
    if not boxes:
        return {}
    choices = [(name, name) for name in boxes]
    if control not in boxes:  # so that saving another setting chooses none
        choices.insert(0, ("", "to be chosen"))
    others = OTHER_BOXES if len(boxes) > 1 else ()
    return {"Captions": [Field(CONTROL, "Text box", _CONTROL_HELP, choices), *others]}


def _shown(settings: ProjectSettings) -> dict[str, str]:
    return {name: _as_text(value) for name, value in settings.to_dict().items()}


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return "" if value is None else str(value)


def _problem(pair: str) -> str | None:
    try:
        ProjectSettings().changed([pair])
    except SettingsError as error:
        return str(error)
    return None
