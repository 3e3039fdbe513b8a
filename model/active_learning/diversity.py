"""Diversity of images: k-means clusters, and the greedy core-set order.

An image is represented by the mean of its patches' encoder outputs (`pooled`), normalised to length 1, so that
Euclidean distance depends on the angle alone.

Shapes: N images, D dimensions, which is the width of the image encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

FloatArray = npt.NDArray[np.float32]

_STARTS = 3  # initialisations of k-means, of which the best is kept: scikit-learn's default for mini-batches


def pooled(features: torch.Tensor) -> FloatArray:
    """Mean encoder output over the patches: (N, patches + 1, D), any float dtype → float32 (N, D), rows of length 1."""
    mean: FloatArray = features.detach().float().mean(dim=1).cpu().numpy()
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.float32(1e-12))


def clusters(features: FloatArray, count: int, *, seed: int) -> list[int]:
    """Mini-batch k-means (Sculley, WWW 2010): the cluster of each image, from 0 to below `count`.

    Args:
        features: float32 (N, D).
        count: how many clusters; with fewer images, each is its own.
        seed: of the initial centres and the batches.
    """
    if len(features) <= count:
        return list(range(len(features)))
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    # A batch is too little work for several threads: beside a model that keeps the cores busy they wait for each other.
    with threadpool_limits(1):
        found = MiniBatchKMeans(count, n_init=_STARTS, random_state=seed).fit_predict(features)
    return [int(cluster) for cluster in found]


def farthest_first(features: FloatArray, *, count: int) -> list[int]:
    """The greedy core-set (k-center; Gonzalez 1985; Sener and Savarese, arXiv 1708.00489): after the first image, each
    next one maximises the distance to its nearest predecessor.

    Args:
        features: float32 (N, D).
        count: length of the order, at most N; the cost is `count` x N x D.

    Returns:
        Indices into `features`, without repetition.
    """
    order: list[int] = []
    squares = np.square(features).sum(axis=1)
    distances = np.full(len(features), np.inf, dtype=np.float32)  # to the nearest chosen one, squared
    place = 0
    while len(order) < min(count, len(features)):
        order.append(place)
        distances = np.minimum(distances, squares + squares[place] - 2 * (features @ features[place]))
        distances[place] = -np.inf  # never chosen again, even when only duplicates are left
        place = int(distances.argmax())
    return order


def stacked(features: Sequence[FloatArray]) -> FloatArray:
    """Vectors (D,) as the rows of one array; (0, 0) without any."""
    return np.stack(features).astype(np.float32) if features else np.zeros((0, 0), dtype=np.float32)
