"""Batches of examples: order, text, features or pixels.

Shapes: B examples in a batch, L tokens, P image patches, H width of the image encoder.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, islice

import torch
from PIL.Image import Image
from torch import Tensor

from captionloop.errors import RunError
from captionloop.model.blip.checkpoint import Checkpoint
from captionloop.model.blip.image_tensors import Pixels
from captionloop.model.captions.example import Example
from captionloop.model.training.augmentation import augmented
from captionloop.model.training.caption_targets import CaptionText, TrainingBatch, padded
from captionloop.model.training.settings import FinetuneSettings, default_steps

FeatureSource = Callable[[Sequence[str]], Tensor] | Mapping[str, Tensor]
"""Image hashes → encoder output, float (B, P+1, H); or each image's own (P+1, H) by its hash."""
PictureSource = Callable[[str], Image]
"""Image hash → the picture, RGB; called by several threads at once."""


class TrainingData:
    """The examples of a run. Batches depend on seed and step alone, so a resumed run gets the same ones.

    Args:
        examples: all of them usable.
        checkpoint: provides tokenizer and image processor.
        settings: batch size, seed, prompt, augmentation, and whether the encoder is trained.
        features: the frozen encoder's output; required unless the encoder is trained.
        pictures: the images; required if it is.
        style_tokens: of each style among them.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        checkpoint: Checkpoint,
        settings: FinetuneSettings,
        *,
        features: FeatureSource | None,
        pictures: PictureSource | None,
        style_tokens: Mapping[str, str] | None = None,
    ) -> None:
        needed, given = ("pictures", pictures) if settings.trains_encoder else ("features", features)
        if given is None:
            raise ValueError(f"way {settings.way!r} needs {needed}")
        self._examples, self._settings = examples, settings
        self._features, self._pictures = features, pictures
        self._pixels = Pixels(checkpoint.image_processor, checkpoint.model.device)
        self._start_id = checkpoint.model.config.text_config.bos_token_id
        self._texts = [
            CaptionText.of(
                example.caption,
                checkpoint.tokenizer,
                prompt=settings.prompt,
                style_token=example.led_in_by(style_tokens or {}),
            )
            for example in examples
        ]

    def batches(self) -> Iterator[list[int]]:
        """Endless batches of full size, as indices: shuffled epochs, concatenated.

        Each style has epochs of its own, and in each batch the part that its steps would be if it were alone: few
        captions of one style are seen as often beside many of another as without them.
        """
        generator = torch.Generator().manual_seed(self._settings.seed)
        styles: dict[str | None, list[int]] = {}
        for index, example in enumerate(self._examples):
            styles.setdefault(example.style, []).append(index)
        drawn = in_turn(
            [_epochs(indices, generator) for indices in styles.values()],
            [default_steps(len(indices)) for indices in styles.values()],
        )
        while True:
            yield list(islice(drawn, self._settings.batch_size))

    def text(self, batch: Sequence[int]) -> TrainingBatch:
        """Decoder inputs and labels, each int64 (B, L)."""
        return padded([self._texts[i] for i in batch], start_id=self._start_id)

    def images(self, step: int, batch: Sequence[int]) -> tuple[Tensor | None, Tensor | None]:
        """The batch's features, float (B, P+1, H), or its pictures' pixels, float (B, 3, side, side); never both.

        Pictures are prepared by as many threads as PyTorch uses; the tensors are on the checkpoint's device.

        Raises:
            RunError: an image has no features.
            ImageError: a picture cannot be read.
        """
        if self._settings.trains_encoder:
            with ThreadPoolExecutor(torch.get_num_threads()) as readers:
                return None, self._pixels(list(readers.map(partial(self._picture, step), batch)))
        return self._features_of([self._examples[i] for i in batch]), None

    def _picture(self, step: int, example: int) -> Image:
        """At the model's input size, augmented if set."""
        assert self._pictures is not None
        picture = self._pictures(self._examples[example].image)
        if self._settings.augment:
            picture = augmented(
                picture,
                random.Random(f"{self._settings.seed} {step} {example}"),  # noqa: S311 (no secret)
            )
        return self._pixels.shrink(picture)

    def _features_of(self, examples: Sequence[Example]) -> Tensor:
        assert self._features is not None
        hashes = [example.image for example in examples]
        if callable(self._features):
            return self._features(hashes)
        # Few captions come several times in a batch.
        missing = list(dict.fromkeys(str(example) for example in examples if example.image not in self._features))
        if missing:
            raise RunError(f"The images of {', '.join(missing)} have no features; they have to be encoded first.")
        return torch.stack([self._features[image] for image in hashes])


def in_turn(streams: Sequence[Iterator[int]], shares: Sequence[float]) -> Iterator[int]:
    """Endless streams as one, each with its share of any part of it, to within an item.

    Args:
        shares: of each stream, in any unit.
    """
    taken = [0] * len(streams)
    for done in count(1):
        behind = [share / sum(shares) * done - had for share, had in zip(shares, taken, strict=True)]
        chosen = behind.index(max(behind))
        taken[chosen] += 1
        yield next(streams[chosen])


def _epochs(indices: Sequence[int], generator: torch.Generator) -> Iterator[int]:
    while True:
        yield from (indices[place] for place in torch.randperm(len(indices), generator=generator).tolist())
