"""Which corrections a run learns from: all that are new to the champion, and a share of those it has learnt from.

A model that is trained on new captions alone unlearns the old ones (catastrophic forgetting, McCloskey and Cohen 1989).
The older ones are chosen by image, so that an image's captions stay together, in an order that the champion's snapshot
and the seed decide: the next champion gets others to see again, and a run that is repeated the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from captionloop.model.dataset.corrections import Example, Snapshot


def with_replay(examples: Sequence[Example], learnt: Snapshot, *, share: float, seed: int) -> list[Example]:
    """The examples that a run is to learn from, in their order.

    An example is older when the snapshot has the same caption for the same image on its own training side; a caption
    that was changed since is new.

    Args:
        examples: the training side of the present snapshot.
        learnt: the snapshot that the champion was made with.
        share: of the older examples' images to learn from again, 0 to 1, rounded to whole images.
        seed: of the choice.
    """
    older = _captions(_training_side(learnt))
    images = {example.image for example in examples if (example.image, example.caption) in older}
    order = sorted(images, key=lambda image: hashlib.sha256(f"{learnt.hash} {seed} {image}".encode()).digest())
    again = set(order[: round(share * len(order))])
    return [example for example in examples if example.image in again or (example.image, example.caption) not in older]


def _training_side(snapshot: Snapshot) -> list[Example]:
    train = set(snapshot.split().train)
    return [example for example in snapshot.examples if example.image in train]


def _captions(examples: Collection[Example]) -> set[tuple[str, str]]:
    return {(example.image, example.caption) for example in examples}
