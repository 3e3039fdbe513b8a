"""The training examples of a run: all that are new to the champion, and a share of those it was trained on.

Training on new captions alone makes a model forget the old ones (catastrophic forgetting, McCloskey and Cohen 1989).
Older ones are sampled by image, so that an image's captions stay together, seeded by the champion's snapshot and the
seed: a repeated run gets the same sample, the next champion another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from captionloop.model.captions.example import Example
from captionloop.model.dataset.corrections import Snapshot


def with_replay(examples: Sequence[Example], learnt: Snapshot, *, share: float, seed: int) -> list[Example]:
    """The examples to train on, in their order.

    An example is old if the champion's snapshot has the same caption of the same image in the same style on its
    training side; a caption that was changed since is new.

    Args:
        examples: the training side of the present snapshot.
        learnt: the snapshot that the champion was trained on.
        share: of the images of old examples to train on again, 0 to 1, rounded to whole images.
        seed: of the sample.
    """
    older = set(map(_identity, _training_side(learnt)))
    images = {example.image for example in examples if _identity(example) in older}
    order = sorted(images, key=lambda image: hashlib.sha256(f"{learnt.hash} {seed} {image}".encode()).digest())
    again = set(order[: round(share * len(order))])
    return [example for example in examples if example.image in again or _identity(example) not in older]


def _training_side(snapshot: Snapshot) -> list[Example]:
    train = set(snapshot.split().train)
    return [example for example in snapshot.examples if example.image in train]


def _identity(example: Example) -> tuple[str, str, str | None]:
    return example.image, example.caption, example.style
