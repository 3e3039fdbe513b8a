"""The pictures of a run: our own copies, and what an encoder makes of them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from captionloop.jobs.context import Context
from captionloop.model.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from captionloop.model.captioner import Captioner

# Features are made and captions written in batches of this many images, between which a cancel is noticed.
BATCH = 32


def picture(context: Context, image_hash: str) -> "Image":
    """Our copy of an image, decoded.

    Raises:
        ImageError: it cannot be decoded, or is over a limit.
    """
    return open_image(context.home.image(image_hash).read_bytes(), limits=context.image_limits)


def image_features(
    context: Context,
    captioner: "Captioner",
    images: Sequence[str],
    on_progress: Callable[[float], None] = lambda share: None,
) -> "dict[str, Tensor]":
    """The captioner's own encoder's output for each image, from the cache where it is known: (patches + 1, hidden)."""
    found: dict[str, Tensor] = {}
    for batch in batches(images, BATCH):
        on_progress(len(found) / len(images))
        known = context.features.get_many(batch, captioner.encoder_hash)
        missing = [digest for digest in batch if digest not in known]
        found |= known
        if missing:
            encoded = captioner.encode([picture(context, digest) for digest in missing], image_hashes=missing).cpu()
            found |= dict(zip(missing, encoded, strict=True))
    return found


def batches(items: Sequence[str], size: int) -> Iterator[list[str]]:
    """The items, so many at a time."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
