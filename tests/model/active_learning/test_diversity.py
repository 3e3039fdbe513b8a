import numpy as np
import torch

from captionloop.model.active_learning.diversity import FloatArray, clusters, farthest_first, pooled


def sorts_of_images(count: int, sorts: int) -> FloatArray:
    """Unit vectors near the axis of their sort, sorts taking turns."""
    noise = np.random.default_rng(0).normal(0, 0.02, (count, 16)).astype(np.float32)
    rows = np.eye(16, dtype=np.float32)[np.arange(count) % sorts] + noise
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_pooled_features_are_the_mean_over_patches_at_length_one() -> None:
    features = torch.tensor([[[2.0, 0.0], [4.0, 8.0]]], dtype=torch.bfloat16)

    assert pooled(features).tolist() == [[np.float32(0.6), np.float32(0.8)]]


def test_an_image_whose_features_are_nothing_stays_finite() -> None:
    assert pooled(torch.zeros(1, 3, 4)).tolist() == [[0, 0, 0, 0]]


def test_images_of_a_sort_share_a_cluster() -> None:
    found = clusters(sorts_of_images(120, 5), 5, seed=0)

    assert {frozenset(found[place::5]) for place in range(5)} == {frozenset({cluster}) for cluster in range(5)}


def test_the_same_seed_gives_the_same_clusters() -> None:
    images = sorts_of_images(100, 7)

    assert clusters(images, 4, seed=3) == clusters(images, 4, seed=3)


def test_fewer_images_than_clusters_have_one_each() -> None:
    assert clusters(sorts_of_images(3, 3), 9, seed=0) == [0, 1, 2]


def test_farthest_first_meets_every_sort_before_any_twice() -> None:
    order = farthest_first(sorts_of_images(60, 6), count=12)

    assert sorted(place % 6 for place in order[:6]) == list(range(6))


def test_each_image_is_farthest_from_its_nearest_one_before() -> None:
    images = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)

    order = farthest_first(images, count=40)

    assert sorted(order) == list(range(40))
    for place in range(1, 40):
        distances = np.linalg.norm(images[:, None] - images[order[:place]], axis=2).min(axis=1)
        assert distances[order[place]] == np.float32(distances.max())


def test_copies_of_an_image_are_all_in_the_order() -> None:
    assert sorted(farthest_first(np.ones((5, 4), dtype=np.float32), count=5)) == list(range(5))
