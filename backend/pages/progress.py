"""Progress: how far people are, what was wrong with suggestions, and of which pictures."""

from captionloop.backend.page_data.progress import read_progress
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.frame import render
from captionloop.model.database import Category, utc_now


@pages.get("/projects/<int:number>/progress")
def progress(number: int) -> str:
    """The figures; each leads to its pictures on Review."""
    room = current_room()
    project = room.project(number)
    shown = read_progress(room, project, now=utc_now())
    return render("progress.html", project, progress=shown, categories=list(Category))
