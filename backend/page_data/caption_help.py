"""What the model has to offer for a picture on the caption screen: other captions, and the rest of a begun one."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.thumbnails import thumbnail
from captionloop.model.database import Project
from captionloop.model.dataset.styles import current_style

if TYPE_CHECKING:
    import torch

    from captionloop.model.captioning.captioner import Captioner

MOST_OTHERS = 3


def other_captions(room: Room, project: Project, picture: str, *, than: str) -> Sequence[str]:
    """The captions that the search for the served one ended with, without the one that is suggested.

    Args:
        picture: the hash of its file.
        than: the suggestion.

    Raises:
        NotFoundError: the picture is not known here.
        CaptionloopError: no version can be loaded.
    """
    with _seen(room, project, picture) as (captioner, features):
        beams = captioner.beams(features)[0]
    found = dict.fromkeys(beam.scored.caption for beam in beams)
    return [caption for caption in found if caption and caption != than][:MOST_OTHERS]


def rest_of_caption(room: Room, project: Project, picture: str, typed: str) -> str:
    """What the served model writes after a beginning. Raises as above."""
    from captionloop.model.captioning.completion import complete

    with _seen(room, project, picture) as (captioner, features):
        return complete(captioner, features, typed)


@contextmanager
def _seen(room: Room, project: Project, picture: str) -> "Iterator[tuple[Captioner, torch.Tensor]]":
    """The serving model, and what its encoder sees in a picture."""
    with room.service.champions.lease(project.id) as serving:
        captioner = serving.writer(current_style(room.database, project.id))
        features = captioner.known_features(picture)
        yield captioner, _encoded(room, captioner, picture) if features is None else features


def _encoded(room: Room, captioner: "Captioner", picture: str) -> "torch.Tensor":
    """By the picture that the page shows. It may be smaller than the file, so it is no entry of the cache."""
    from PIL import Image

    shown = Image.open(io.BytesIO(thumbnail(room, picture, "large"))).convert("RGB")
    return captioner.encode([shown])
