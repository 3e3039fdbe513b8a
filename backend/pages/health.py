"""Health: failed checks of `captionloop doctor`."""

from flask import render_template, request

from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.frame import render


@pages.get("/projects/<int:number>/health")
def health_of_parts(number: int) -> str:
    """A fragment of the overview, loaded later; without script a separate page."""
    room = current_room()
    project = room.project(number)
    found = room.checkups.of(project)
    if "HX-Request" in request.headers:
        return render_template("parts/health.html", health=found)
    return render("health.html", project, health=found)
