"""The pages of a room with their addresses: for what has to hold on each of them."""

from captionloop.backend.pages.room import Room
from captionloop.model.database import Project


def page_paths(room: Room, project: Project) -> dict[str, str]:
    """The address of every kind of page, by name; those with filters or an item in their address included."""
    here = f"/projects/{project.label_studio_id}"
    first, second = [info.version for info in room.versions.all_of(project.id)][:2]
    return {
        "overview": f"{here}/",
        "health": f"{here}/health",
        "versions": f"{here}/versions",
        "version": f"{here}/versions/{second}",
        "compare": f"{here}/compare?first={first}&second={second}",
        "compare blind": f"{here}/compare?first={first}&second={second}&blind=1",
        "error": f"{here}/versions/none",
    }
