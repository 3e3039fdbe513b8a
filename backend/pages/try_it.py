"""Try it: a picture in, captions out, with how sure each word is and where the model regions. No picture is kept."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from captionloop.backend.pages.access import UPLOAD
from captionloop.backend.pages.blueprint import pages
from captionloop.backend.pages.frame import render, render_error
from captionloop.backend.pages.room import Room, current_room
from captionloop.errors import BusyError, CheckpointError, ImageError
from captionloop.model.database import Project
from captionloop.model.dataset.images import ImageLimits, open_image
from captionloop.model.versions.store import VersionInfo

if TYPE_CHECKING:
    from PIL.Image import Image

    from captionloop.model.captioning.captioner import ScoredCaption
    from captionloop.model.captioning.word_regions import Word, WordRegions

# One picture is computed at a time; those who wait hold threads that Label Studio needs as well, so few may.
_COMPUTING = Lock()
_WAITING = BoundedSemaphore(4)
_WAIT_S = 60
_LONGEST_SIDE_PX = 960
_JPEG_QUALITY = 85
_VEIL_PX = 48  # longest side; the browser stretches it smoothly
_DARKEST = 200  # of 255: how much is hidden where the model regions least
_STRENGTHS = 5  # of the line under a word


@dataclass(frozen=True)
class ShownWord:
    """A word of a caption.

    Args:
        text: as the caption has it.
        follows_space: whether a space stands before it.
        pieces: in how many word pieces it was written.
        probability: 0 to 1.
        strength: of the line under it, 1 to 5.
        veil: a PNG as `data:` address that hides what the model did not look at.
    """

    text: str
    follows_space: bool
    pieces: int
    probability: float
    strength: int
    veil: str


@dataclass(frozen=True)
class Tried:
    """What one version makes of the picture: its captions, best first, and the words of the first."""

    version: str
    is_champion: bool
    beams: "Sequence[ScoredCaption]"
    words: Sequence[ShownWord]


@dataclass(frozen=True)
class TryShown:
    """What the page shows.

    Args:
        champion: the version that serves.
        others: versions to compare it with, newest first.
        chosen: the one of them that was chosen; "" for none.
        picture: what was uploaded, as a JPEG in a `data:` address, with its width and height; None before.
        tried: for each version.
        problem: why there is no picture.
    """

    champion: str
    others: Sequence[str]
    chosen: str = ""
    picture: tuple[str, int, int] | None = None
    tried: Sequence[Tried] = ()
    problem: str = ""


def read_try(room: Room, project: Project) -> TryShown:
    """The page before a picture."""
    champion = room.champion(project).version
    versions = reversed(room.versions.all_of(project.id))
    others = [found.version for found in versions if found.version != champion and not found.deleted_at]
    return TryShown(champion=champion, others=others)


def try_picture(room: Room, project: Project, picture: "Image", versions: Sequence[VersionInfo]) -> list[Tried]:
    """Let versions caption a picture, one after the other.

    Raises:
        BusyError: too many others do so now.
        CheckpointError: a version's files are damaged.
    """
    from captionloop.model.captioning.word_regions import word_regions

    champion = room.champion(project).version
    tried = []
    for version in versions:
        with _turn(), room.captioner(project, version) as captioner:
            regions = word_regions(captioner, picture)
        tried.append(_shown(regions, picture.size, is_champion=version.version == champion))
    return tried


@pages.get("/projects/<int:number>/try")
def try_it(number: int) -> str:
    room = current_room()
    project = room.project(number)
    return render("try.html", project, shown=read_try(room, project), limits=room.context.image_limits)


@pages.post("/projects/<int:number>/try")
def try_it_with(number: int) -> tuple[str, int]:
    """Caption what was uploaded. It changes nothing, so readers may, too."""
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
    shown = replace(before, chosen=chosen, picture=_embedded(picture), tried=tried)
    return render("try.html", project, shown=shown, limits=limits), 200


@pages.errorhandler(RequestEntityTooLarge)
def _too_large(_: RequestEntityTooLarge) -> tuple[str, int]:
    """What was sent is not read at all; the page says what the limit is."""
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
    """The picture that came with the form.

    Raises:
        ImageError: there is none, or it cannot be used.
    """
    if file is None or not file.filename:
        raise ImageError("No picture was chosen. Drop one on the field, or press it to choose a file.")
    with closing(file):  # a large one lies in a temporary file till then
        size = file.stream.seek(0, io.SEEK_END)
        if size > limits.max_bytes:  # said before it is read into memory
            raise ImageError(f"The image file has {size:,} bytes; the limit is {limits.max_bytes:,}.")
        file.stream.seek(0)
        return open_image(file.stream.read(), limits=limits)


@contextmanager
def _turn() -> Iterator[None]:
    """One picture at a time; a second waits.

    Raises:
        BusyError: too many wait already, or the one before takes too long.
    """
    busy = BusyError("Several people are trying pictures just now. Try again in a moment.")
    if not _WAITING.acquire(blocking=False):
        raise busy
    try:
        if not _COMPUTING.acquire(timeout=_WAIT_S):
            raise busy
        try:
            yield
        finally:
            _COMPUTING.release()
    finally:
        _WAITING.release()


def _shown(regions: "WordRegions", size: tuple[int, int], *, is_champion: bool) -> Tried:
    words = [
        ShownWord(
            text=word.text,
            follows_space=word.follows_space,
            pieces=word.pieces,
            probability=word.probability,
            strength=min(_STRENGTHS, 1 + int(word.probability * _STRENGTHS)),
            veil=_veil(word, size),
        )
        for word in regions.words
    ]
    return Tried(regions.version, is_champion, regions.beams, words)


def _veil(word: "Word", size: tuple[int, int]) -> str:
    """Black of varying thickness, in the picture's proportions: clear where the model regions most."""
    from PIL import Image

    attention = word.attention / word.attention.max()
    alpha = Image.fromarray(((1 - attention) * _DARKEST).astype("uint8"))
    scale = _VEIL_PX / max(size)
    alpha = alpha.resize((max(1, round(size[0] * scale)), max(1, round(size[1] * scale))), Image.Resampling.BICUBIC)
    veil = Image.merge("LA", (Image.new("L", alpha.size, 0), alpha))
    return _address(veil, "PNG", optimize=True)


def _embedded(picture: "Image") -> tuple[str, int, int]:
    small = picture.copy()
    small.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX))
    return _address(small, "JPEG", quality=_JPEG_QUALITY), small.width, small.height


def _address(picture: "Image", form: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
