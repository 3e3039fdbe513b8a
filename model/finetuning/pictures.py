"""The pictures of a run: decoding, features, captions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from captionloop.batches import batches
from captionloop.image_limits import ImageLimits
from captionloop.model.captioning.feature_cache import FeatureCache
from captionloop.model.dataset.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from captionloop.model.captioning.captioner import Captioner

_MOST_IN_MEMORY_BYTES = 2**28
# Features are computed and captions generated in batches of this many images, between checks for cancellation.
BATCH = 32


@dataclass(frozen=True)
class Pictures:
    """Pictures by the SHA-256 of their bytes.

    Args:
        read: returns a picture's bytes, or raises ImageError; called by several threads at once.
        limits: which pictures are too large.
        cache: of image features.
    """

    read: Callable[[str], bytes]
    limits: ImageLimits
    cache: FeatureCache

    def open(self, image_hash: str) -> "Image":
        """A picture, decoded to RGB.

        Raises:
            ImageError: it cannot be decoded, or is over a limit.
        """
        return open_image(self.read(image_hash), limits=self.limits)

    def features(self, captioner: "Captioner", images: Sequence[str]) -> "dict[str, Tensor]":
        """The output of the captioner's encoder for a batch, (patches + 1, hidden) each, from the cache if possible."""
        found = self.cache.get_many(images, captioner.encoder_hash)
        missing = [digest for digest in images if digest not in found]
        if missing:
            encoded = captioner.encode([self.open(digest) for digest in missing], image_hashes=missing).cpu()
            found |= dict(zip(missing, encoded, strict=True))
        return found

    def captions(self, captioner: "Captioner", images: Sequence[str]) -> dict[str, str]:
        """A model's captions for a batch, with its own encoder, which may differ from the champion's."""
        import torch

        features = self.features(captioner, images)
        suggestions = captioner.caption_features(torch.stack([features[image] for image in images]))
        return {image: suggestion.caption for image, suggestion in zip(images, suggestions, strict=True)}

    def all_captions(
        self, captioner: "Captioner", images: Sequence[str], *, before_each: Callable[[], None]
    ) -> dict[str, str]:
        """A model's captions for any number of images.

        Args:
            before_each: called before each batch; an exception from it ends the work.
        """
        written: dict[str, str] = {}
        for batch in batches(images, BATCH):
            before_each()
            written |= self.captions(captioner, batch)
        return written


class EncodedPictures:
    """A frozen encoder's output for the images that a run trains on, made once.

    Up to 0.25 GiB stays in memory, 8,000 images of the starter model; the rest is read from the cache each time.
    BLIP-base's output for a thousand images takes 1.7 GiB, or half of that in bf16.

    Args:
        pictures: the images and the cache.
        captioner: provides the encoder.
        images: all that will be requested.
        on_progress: called with the share that is done, 0 to 1.
    """

    def __init__(
        self, pictures: Pictures, captioner: "Captioner", images: Sequence[str], on_progress: Callable[[float], None]
    ) -> None:
        self._pictures, self._captioner = pictures, captioner
        self._held: dict[str, Tensor] = {}
        held_bytes = done = 0
        for batch in batches(images, BATCH):
            on_progress(done / len(images))
            made = pictures.features(captioner, batch)
            done += len(batch)
            if held_bytes < _MOST_IN_MEMORY_BYTES:
                self._held |= made
                held_bytes += sum(tensor.nbytes for tensor in made.values())

    def __call__(self, images: Sequence[str]) -> "Tensor":
        """Float (images, patches + 1, hidden), on the CPU."""
        import torch

        missing = list(dict.fromkeys(image for image in images if image not in self._held))
        read = self._pictures.features(self._captioner, missing) if missing else {}
        return torch.stack([self._held[image] if image in self._held else read[image] for image in images])
