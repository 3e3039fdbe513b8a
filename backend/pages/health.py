"""Health: failed checks of `captionloop doctor`."""

from flask import render_template, request

from captionloop.backend.health.checkups import PATIENCE_S
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.frame import render

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
    return render("health.html", project, health=found, number=number)
