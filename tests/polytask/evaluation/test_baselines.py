"""Baselines on a tiny data set, worked out by hand: see tests/polytask/tiny.py."""

import numpy as np
import pytest

from polytask.evaluation.baselines import LAG_DECAY, baselines_of
from polytask.tensors import HISTORY
from tests.polytask.tiny import tiny_dataset


@pytest.fixture(scope="module")
def dataset(small_scenario):
    return tiny_dataset(small_scenario)


@pytest.fixture(scope="module")
def test_events(dataset):
    return np.flatnonzero(dataset.split == "test")


def scores_of(dataset, events, task_name, baseline):
    task = dataset.scenario.task(task_name)
    history = dataset.request_encoder().rows(dataset.requests(events))[HISTORY]
    return baselines_of(task)[baseline](dataset, task, events, history)


def test_every_task_has_baselines(small_scenario):
    names = {task.name: sorted(baselines_of(task)) for task in small_scenario.tasks}
    assert names == {
        "item": ["markov", "popularity"],
        "user": ["most_active"],
        "scene": ["popularity", "user_histogram"],
    }


def test_popularity_counts_training_events(dataset, test_events):
    # Training: 1 has items 1 2 3, 2 has 2 3, 3 has 1 2, 4 has 1 2.
    assert scores_of(dataset, test_events, "item", "popularity").tolist() == [[0, 3, 4, 2, 0, 0]] * 3


def test_markov_follows_the_newest_items(dataset, test_events):
    scores = scores_of(dataset, test_events, "item", "markov")
    # One step: 1 -> 2 three times, 2 -> 3 twice. Two steps: 1 -> 3 once, by user 1, decayed.
    one, two = np.array([3.0, LAG_DECAY]) / (3 + LAG_DECAY)
    # User 2 asks after items 2, 3, 2: 2 -> 3 is certain, at lag 1 and at lag 3. Nothing followed item 3 in training.
    assert scores[1] == pytest.approx([0, 0, 0, 1 + LAG_DECAY**2, 0, 0], abs=1e-5)
    # User 3 asks after items 1, 2, 3.
    expected = [0, 0, LAG_DECAY**2 * one, LAG_DECAY + LAG_DECAY**2 * two, 0, 0]
    assert scores[2] == pytest.approx(expected, abs=1e-5)
    assert scores[1, 2] > scores[1, 1] > scores[1, 4]  # popularity orders the rest
    assert scores[:, 0].tolist() == [0, 0, 0]


def test_most_active_counts_liked_training_events(dataset, test_events):
    assert scores_of(dataset, test_events, "user", "most_active").tolist() == [[0, 2, 2, 1, 1]] * 3


def test_classes_by_popularity(dataset, test_events):
    # Nine training events: items 1 1 1 (Comedy), 2 2 2 2 (Drama), 3 3 (both).
    expected = [[5 / 9, 6 / 9, 0, 0]] * 3
    assert scores_of(dataset, test_events, "scene", "popularity") == pytest.approx(np.array(expected))


def test_classes_by_the_users_own_history(dataset, test_events):
    scores = scores_of(dataset, test_events, "scene", "user_histogram")
    popularity = np.array([5 / 9, 6 / 9, 0, 0]) / 1000
    assert scores[0] == pytest.approx(np.array([2, 2, 1, 0]) / 4 + popularity)  # items 1 2 3 4
    assert scores[1] == pytest.approx(np.array([1, 3, 0, 0]) / 3 + popularity)  # items 2 3 2
