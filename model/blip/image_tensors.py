"""Pictures as input of the image encoder: bit for bit the output of the checkpoint's image processor, but faster.

After resizing, `BlipImageProcessorPil` maps each byte of a channel to a number, in several passes over the picture in
NumPy. A channel has 256 byte values, so the mapping is computed once, and applied as a lookup table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BlipImageProcessorPil

_LEVELS, _RGB = 256, 3


class Pixels:
    """
    Args:
        processor: of the checkpoint.
        device: of the output. Pictures are copied there as bytes.
    """

    def __init__(self, processor: BlipImageProcessorPil, device: torch.device) -> None:
        self._processor, self._device = processor, device
        self._table = _numbers_of_each_level(processor).to(device)

    def shrink(self, image: Image.Image) -> Image.Image:
        """Resize a picture to the model's input size; the output for it stays the same.

        Args:
            image: RGB.
        """
        if not self._processor.do_resize:
            return image
        size = (self._processor.size["width"], self._processor.size["height"])
        return image if image.size == size else image.resize(size, self._processor.resample)

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """
        Args:
            images: RGB; they are resized where the processor would.

        Returns:
            (images, 3, height, width), float32 unless the processor leaves bytes as they are.
        """
        levels = torch.from_numpy(np.stack([np.asarray(self.shrink(image)) for image in images])).to(self._device)
        channels = [
            numbers.index_select(0, levels[..., channel].flatten().int()).view(levels.shape[:3])
            for channel, numbers in enumerate(self._table)
        ]
        return torch.stack(channels, dim=1)


def _numbers_of_each_level(processor: BlipImageProcessorPil) -> Tensor:
    """(3, 256)."""
    side = int(_LEVELS**0.5)
    levels = np.arange(_LEVELS, dtype=np.uint8).reshape(side, side, 1).repeat(_RGB, axis=2)
    numbers: Tensor = processor([Image.fromarray(levels)], do_resize=False, return_tensors="pt")["pixel_values"]
    return numbers.view(_RGB, _LEVELS)
