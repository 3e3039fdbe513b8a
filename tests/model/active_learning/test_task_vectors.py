"""Stored vectors and clusters of tasks."""

import numpy as np
import pytest
from tests.support.models import add_project

from captionloop.model.active_learning.task_vectors import TaskVectors
from captionloop.model.database import Database


@pytest.fixture
def features(database: Database) -> TaskVectors:
    return TaskVectors(database, add_project(database).id)


def vector(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_a_vector_comes_back_as_it_was(features: TaskVectors) -> None:
    features.keep("encoder", {7: vector(0.6, 0.8)})
    (found,) = features.read("encoder", [7, 8]).items()
    assert (found[0], found[1].tolist(), found[1].dtype.name) == (7, vector(0.6, 0.8).tolist(), "float32")


def test_what_another_encoder_said_is_forgotten(features: TaskVectors) -> None:
    features.keep("before", {7: vector(1, 0)})
    features.keep("after", {7: vector(0, 1)})
    assert features.read("before", [7]) == {}
    assert features.read("after", [7])[7].tolist() == [0, 1]


def test_a_task_keeps_its_cluster_when_the_clusters_are_made_again(features: TaskVectors) -> None:
    features.keep("encoder", {task: vector(1, 0) for task in range(1, 8)})
    features.settle_clusters("encoder", 2, {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2})
    # The clusters come out under each other's names, and task 3 among the others.
    again = features.settle_clusters("encoder", 2, {1: 2, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1, 7: 2})
    assert again == {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 1}


def test_another_number_of_clusters_sorts_all_anew(features: TaskVectors) -> None:
    features.keep("encoder", {task: vector(1, 0) for task in (1, 2)})
    features.settle_clusters("encoder", 2, {1: 1, 2: 2})
    assert features.settle_clusters("encoder", 3, {1: 3, 2: 3}) == {1: 3, 2: 3}


def test_another_encoder_sorts_all_anew(features: TaskVectors) -> None:
    features.keep("before", {1: vector(1, 0)})
    features.settle_clusters("before", 2, {1: 1})
    features.keep("after", {1: vector(1, 0)})
    assert features.settle_clusters("after", 2, {1: 2}) == {1: 2}
