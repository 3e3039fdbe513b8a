"""Several versions' captions of one picture, with probability and attention per word. No picture is stored."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from captionloop.backend.page_data.room import Room
from captionloop.errors import BusyError
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import Project
from captionloop.model.dataset.styles import current_style
from captionloop.model.versions.store import VersionInfo

if TYPE_CHECKING:
    from PIL.Image import Image

    from captionloop.model.captioning.captioner import ScoredCaption
    from captionloop.model.captioning.word_regions import Word, WordRegions

# One picture is computed at a time; waiting requests occupy threads that Label Studio needs as well, so few may wait.
_COMPUTING = Lock()
_WAITING = BoundedSemaphore(4)
_WAIT_S = 60
_LONGEST_SIDE_PX = 960
_JPEG_QUALITY = 85
_VEIL_PX = 48  # longest side; the browser stretches it smoothly
_DARKEST = 200  # of 255: opacity where the attention is lowest
_STRENGTHS = 5  # of the line under a word


@dataclass(frozen=True)
class ShownWord:
    """A word of a caption.

    Args:
        text: as in the caption.
        follows_space: whether a space precedes it.
        pieces: number of word pieces.
        probability: 0 to 1.
        strength: of the line under it, 1 to 5.
        veil: a PNG as `data:` URL that darkens patches with little attention.
    """

    text: str
    follows_space: bool
    pieces: int
    probability: float
    strength: int
    veil: str


@dataclass(frozen=True)
class Tried:
    """One version's captions of the picture in one of its styles, best first, and the words of the first.

    Args:
        style: its name; None is the one without a name.
        knows_styles: whether the version was taught several.
        is_served: whether a champion's suggestions are in this style.
    """

    version: str
    is_champion: bool
    style: str | None
    knows_styles: bool
    is_served: bool
    beams: "Sequence[ScoredCaption]"
    words: Sequence[ShownWord]


@dataclass(frozen=True)
class TryShown:
    """The data of the page.

    Args:
        champion: the version that serves.
        others: versions to compare it with, newest first.
        chosen: the chosen one of them; "" for none.
        picture: the upload, as a JPEG in a `data:` URL, with its width and height; None before.
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
    """The page without a picture."""
    champion = room.champion(project).version
    versions = reversed(room.versions.all_of(project.id))
    others = [found.version for found in versions if found.version != champion and not found.deleted_at]
    return TryShown(champion=champion, others=others)


def try_picture(room: Room, project: Project, picture: "Image", versions: Sequence[VersionInfo]) -> list[Tried]:
    """Caption a picture with several versions, one at a time, in every style that each knows, the served one first.

    Raises:
        BusyError: too many requests are waiting.
        CheckpointError: a version's files are damaged.
    """
    from captionloop.model.captioning.word_regions import word_regions

    champion, current = room.champion(project).version, current_style(room.database, project.id)
    tried = []
    for version in versions:
        styles = _styles(version.generation, current)
        with _turn(), room.captioner(project, version) as captioner:
            found = [(style, word_regions(captioner.in_style(style), picture)) for style in styles]
        tried += [
            replace(
                _shown(regions, picture.size, is_champion=version.version == champion),
                style=style,
                knows_styles=len(styles) > 1,
                is_served=style == styles[0],
            )
            for style, regions in found
        ]
    return tried


def _styles(generation: GenerationSettings, current: str | None) -> list[str | None]:
    """All that a version knows, first the one that it writes while this one is current."""
    return list(dict.fromkeys([generation.written_in(current), None, *generation.styles]))


@contextmanager
def _turn() -> Iterator[None]:
    """One picture at a time; a second waits.

    Raises:
        BusyError: too many are waiting, or the present one takes too long.
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
    return Tried(
        regions.version, is_champion, None, knows_styles=False, is_served=True, beams=regions.beams, words=words
    )


def _veil(word: "Word", size: tuple[int, int]) -> str:
    """Black with varying opacity, in the picture's proportions: transparent where the attention is highest."""
    from PIL import Image

    attention = word.attention / word.attention.max()
    alpha = Image.fromarray(((1 - attention) * _DARKEST).astype("uint8"))
    scale = _VEIL_PX / max(size)
    alpha = alpha.resize((max(1, round(size[0] * scale)), max(1, round(size[1] * scale))), Image.Resampling.BICUBIC)
    veil = Image.merge("LA", (Image.new("L", alpha.size, 0), alpha))
    return _address(veil, "PNG", optimize=True)


def embedded(picture: "Image") -> tuple[str, int, int]:
    small = picture.copy()
    small.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX))
    return _address(small, "JPEG", quality=_JPEG_QUALITY), small.width, small.height


def _address(picture: "Image", form: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
