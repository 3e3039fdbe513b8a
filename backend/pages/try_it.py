"""Try it: a picture in, captions out. No picture is kept."""

import io
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from captionloop.backend.page_data.try_it import embedded, read_try, try_picture
from captionloop.backend.pages.access import UPLOAD
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.frame import render, render_error
from captionloop.errors import BusyError, CheckpointError, ImageError
from captionloop.image_limits import ImageLimits
from captionloop.model.dataset.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image


@pages.get("/projects/<int:number>/try")
def try_it(number: int) -> str:
    room = current_room()
    project = room.project(number)
    return render("try.html", project, shown=read_try(room, project), limits=room.context.image_limits)


@pages.post("/projects/<int:number>/try")
def try_it_with(number: int) -> tuple[str, int]:
    """Caption an uploaded picture. It changes nothing, so readers may use it."""
    room = current_room()
    project = room.project(number)
    before = read_try(room, project)
    chosen = request.form.get("version", "")
    limits = room.context.image_limits
    names = [before.champion, *([chosen] if chosen and chosen != before.champion else [])]
    versions = [room.versions.get(project.id, name) for name in names]
    try:
        picture = _uploaded(request.files.get("picture"), limits)
        tried = try_picture(room, project, picture, versions)
    except (ImageError, BusyError, CheckpointError) as error:
        shown = replace(before, chosen=chosen, problem=str(error))
        return render("try.html", project, shown=shown, limits=limits), 422
    shown = replace(before, chosen=chosen, picture=embedded(picture), tried=tried)
    return render("try.html", project, shown=shown, limits=limits), 200


@pages.errorhandler(RequestEntityTooLarge)
def _too_large(_: RequestEntityTooLarge) -> tuple[str, int]:
    """The upload is not read; the page states the limit."""
    if request.endpoint != UPLOAD:
        return render_error(
            413, "This is larger than any form of these pages. Go back, and shorten what you typed."
        ), 413
    room = current_room()
    project = room.project((request.view_args or {})["number"])
    limits = room.context.image_limits
    problem = (
        f"The picture is larger than {limits.max_bytes / 1e6:g} MB, the limit. "
        "Save it smaller, or set CAPTIONLOOP_MAX_IMAGE_MB."
    )
    return render("try.html", project, shown=replace(read_try(room, project), problem=problem), limits=limits), 413


def _uploaded(file: FileStorage | None, limits: ImageLimits) -> "Image":
    """The uploaded picture.

    Raises:
        ImageError: there is none, or it cannot be decoded.
    """
    if file is None or not file.filename:
        raise ImageError("No picture was chosen. Drop one on the field, or press it to choose a file.")
    with closing(file):  # a large one is in a temporary file until then
        size = file.stream.seek(0, io.SEEK_END)
        if size > limits.max_bytes:  # checked before it is read into memory
            raise ImageError(f"The image file has {size:,} bytes; the limit is {limits.max_bytes:,}.")
        file.stream.seek(0)
        return open_image(file.stream.read(), limits=limits)
