"""Labelled datasets to replay (`simulation`): drawn scenes, or the user's own."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL.Image import Image
from torch import Tensor

from captionloop.errors import SettingsError
from captionloop.image_limits import ImageLimits
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.dataset.images import open_image
from captionloop.model.exchange.evaluation_set import EvaluationSet
from captionloop.model.simulation.rounds import Material
from captionloop.model.starter.imbalanced import imbalanced_scene
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import Scene, draw
from captionloop.model.starter.styles import STYLES

UNSEEN_SHARE = 0.25  # of a dataset that is replayed
_BATCH = 50
Picture = Callable[[], Image]


@dataclass(frozen=True)
class DrawnScenes:
    """An imbalanced pool, different for each seed, and a fixed test set of unseen scenes, balanced over all kinds.

    Args:
        captioner: provides the encoder.
        style: the simulated person's house style, a name of `starter.styles.STYLES`.
        easy: share of easy, similar scenes in the pool.
        pool, unseen: number of scenes.
    """

    captioner: Captioner
    style: str = "new_words"
    easy: float = 0.8
    pool: int = 400
    unseen: int = 300

    def __call__(self, seed: int) -> Material:
        unseen = {_name("unseen", index): example("unseen", index) for index in range(self.unseen)}
        pool = {}
        for index in range(self.pool):
            rng = random.Random(f"imbalanced {seed} {index}")  # noqa: S311 (no secret)
            pool[_name(f"imbalanced {seed}", index)] = imbalanced_scene(rng, easy=self.easy), rng.getrandbits(48)
        return Material(
            pool={image: self._caption(scene) for image, (scene, _) in pool.items()},
            unseen={image: [self._caption(scene)] for image, (scene, _) in unseen.items()},
            features=_encoded(
                self.captioner,
                {
                    image: lambda scene=scene, number=number: draw(scene, seed=number)  # type: ignore[misc]
                    for image, (scene, number) in (pool | unseen).items()
                },
            ),
        )

    def _caption(self, scene: Scene) -> str:
        return STYLES[self.style](scene)


def replayed(dataset: EvaluationSet, captioner: Captioner, *, limits: ImageLimits) -> Callable[[int], Material]:
    """A dataset with a quarter as test set, different for each seed. The person writes an image's first caption.

    Raises:
        SettingsError: it has fewer than 8 images.
        ImageError: a picture cannot be read.
    """
    images = sorted(dataset.pictures)
    if len(images) < 8:
        raise SettingsError(f"The dataset has {len(images)} images; a simulation needs at least 8.")
    features = _encoded(
        captioner,
        {
            image: lambda picture=picture: open_image(  # type: ignore[misc]
                picture.read(max_bytes=limits.max_bytes), limits=limits
            )
            for image, picture in dataset.pictures.items()
        },
    )

    def material(seed: int) -> Material:
        unseen = set(random.Random(seed).sample(images, round(UNSEEN_SHARE * len(images))))  # noqa: S311
        return Material(
            pool={image: dataset.references[image][0] for image in images if image not in unseen},
            unseen={image: dataset.references[image] for image in images if image in unseen},
            features=features,
        )

    return material


def _encoded(captioner: Captioner, pictures: Mapping[str, Picture]) -> dict[str, Tensor]:
    features: dict[str, Tensor] = {}
    names = list(pictures)
    for start in range(0, len(names), _BATCH):
        some = names[start : start + _BATCH]
        features |= zip(some, captioner.encode([pictures[name]() for name in some]).float(), strict=True)
    return features


def _name(series: str, index: int) -> str:
    return hashlib.sha256(f"{series} {index}".encode()).hexdigest()
