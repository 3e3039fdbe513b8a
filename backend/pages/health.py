"""Health: failed checks of `captionloop doctor`."""

from collections.abc import Sequence

from flask import render_template, request

from captionloop.backend.health.checkups import PATIENCE_S
from captionloop.backend.page_data.room import Room
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.frame import render
from captionloop.errors import ServiceError
from captionloop.jobs.queue.presence import Presence, differences

_FIRST_ANSWERS_S = 1.5  # then the overview shows them, and asks again


@pages.get("/projects/<int:number>/health")
def health_of_parts(number: int) -> str:
    """A fragment of the overview, loaded later; without script a separate page."""
    room = current_room()
    project = room.project(number)
    if "HX-Request" in request.headers:
        found = room.checkups.of(project, patience_s=_FIRST_ANSWERS_S)
        return render_template("parts/health.html", health=found, number=number)
    found = room.checkups.of(project, patience_s=PATIENCE_S)
    there = _present(room)
    return render("health.html", project, health=found, number=number, processes=there, different=differences(there))


def _present(room: Room) -> Sequence[Presence]:
    try:
        return room.context.queue.present()
    except ServiceError:  # the check of Redis says so
        return ()
