"""The operations and memory traffic of a caption, to relate a part's speed to the limits of the machine.

Counted are matrix products (a multiplication and an addition are two operations), and the weights, keys and values
read from memory. Norms, activations and softmax are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import BlipConfig

from captionloop.backend.bench.parts import Result
from captionloop.backend.bench.settings import BEAMS, TRAINING_TOKENS, part_of


@dataclass(frozen=True)
class Work:
    """For each picture.

    Args:
        operations: of matrix products.
        read: bytes from memory.
    """

    operations: float = 0.0
    read: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.operations + other.operations, self.read + other.read)


def work_of(result: Result, config: BlipConfig, *, bytes_each: int) -> Work | None:
    """The work per picture of a part, with numbers of `bytes_each` bytes; None if not counted."""
    part = part_of(result.key)
    if part == "train_full":
        return full_step(config, tokens=TRAINING_TOKENS)
    if result.tokens is None:
        return None
    written = writing(config, tokens=result.tokens, beams=BEAMS, batch=result.batch, bytes_each=bytes_each)
    return written if part == "recaption" else encoding(config, batch=result.batch, bytes_each=bytes_each) + written


def encoding(config: BlipConfig, *, batch: int, bytes_each: int = 2) -> Work:
    """The image encoder, whose weights a batch reads once."""
    vision = config.vision_config
    patches, width, inner = _patches(config), vision.hidden_size, vision.intermediate_size
    layer = 4 * width**2 + 2 * width * inner  # weights
    attention = 2 * 2 * patches**2 * width
    first = 3 * vision.patch_size**2 * width
    operations = vision.num_hidden_layers * (2 * patches * layer + attention) + 2 * (patches - 1) * first
    return Work(operations, (vision.num_hidden_layers * layer + first) * bytes_each / batch)


def writing(config: BlipConfig, *, tokens: float, beams: int, batch: int, bytes_each: int = 2) -> Work:
    """The text decoder for a caption of this length: one step per token, for all beams."""
    text, patches = config.text_config, _patches(config)
    width, inner, layers = text.hidden_size, text.intermediate_size, text.num_hidden_layers
    picture = 2 * width * config.vision_config.hidden_size  # weights of a picture's keys and values
    token = 4 * width**2 + 2 * width**2 + 2 * width * inner  # of self-attention, cross-attention, and what follows
    weights = layers * token + width * text.vocab_size
    looking = 2 * 2 * patches * width  # operations of a token's cross-attention
    kept = layers * 2 * patches * width  # numbers: a picture's keys and values
    return Work(
        operations=layers * 2 * patches * picture + tokens * beams * (2 * weights + layers * looking),
        read=((layers * picture + tokens * weights) / batch + tokens * kept) * bytes_each,
    )


def full_step(config: BlipConfig, *, tokens: int) -> Work:
    """Training of all weights: the backward pass has two products for each one of the forward pass."""
    text, patches = config.text_config, _patches(config)
    width, layers = text.hidden_size, text.num_hidden_layers
    token = 6 * width**2 + 2 * width * text.intermediate_size
    picture = 2 * width * config.vision_config.hidden_size
    forward = encoding(config, batch=1).operations + layers * 2 * (patches * picture + tokens * token)
    return Work(3 * (forward + tokens * 2 * width * text.vocab_size))


def _patches(config: BlipConfig) -> int:
    """Number of patches, [CLS] included."""
    return int((config.vision_config.image_size // config.vision_config.patch_size) ** 2 + 1)
