"""Baselines on a tiny data set, worked out by hand: see tests/polytask/tiny.py."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest

from polytask.baselines.item_lists import ials
from polytask.data.evaluation_requests import Requests, split_requests
from polytask.data.labels import TaskLabels
from polytask.evaluation.measures import task_statistics
from polytask.evaluation.tuning import baselines_of, tuned_baselines
from polytask.metrics.weighted import value_of
from polytask.scenario.schema import Label, Task
from tests.polytask.tiny import tiny_dataset


@pytest.fixture(scope="module")
def dataset(small_scenario):
    return tiny_dataset(small_scenario)


@pytest.fixture(scope="module")
def requests(dataset):
    return split_requests(dataset, "test")


def candidates(dataset, task_name, baseline):
    task = dataset.scenario.task(task_name)
    return {tuple(c.settings.values()): c for c in baselines_of(dataset, task)[baseline](dataset, task)}


def scores_of(dataset, requests, task_name, baseline, *settings):
    return candidates(dataset, task_name, baseline)[settings].score(requests)


def test_every_task_has_baselines(dataset):
    names = {task.name: sorted(baselines_of(dataset, task)) for task in dataset.scenario.tasks}
    assert names == {
        "item": ["ease", "ials", "item_knn", "markov", "popularity"],
        "user": ["most_active", "user_knn"],
        "scene": ["popularity", "user_histogram"],
    }


def test_popularity_counts_training_events(dataset, requests):
    # Training: 1 has items 1 2 3, 2 has 2 3, 3 has 1 2, 4 has 1 2.
    assert scores_of(dataset, requests, "item", "popularity").tolist() == [[0, 3, 4, 2, 0, 0]] * 3


def test_markov_follows_the_newest_items(dataset, requests):
    decay = 0.8
    scores = scores_of(dataset, requests, "item", "markov", decay, 10)
    # One step: 1 -> 2 three times, 2 -> 3 twice. Two steps: 1 -> 3 once, by user 1, decayed.
    one, two = np.array([3.0, decay]) / (3 + decay)
    # User 2's request follows items 2, 3, 2: 2 -> 3 is certain, at lag 1 and at lag 3. No item followed 3 in training.
    assert scores[1] == pytest.approx([0, 0, 0, 1 + decay**2, 0, 0], abs=1e-5)
    # User 3's request follows items 1, 2, 3.
    expected = [0, 0, decay**2 * one, decay + decay**2 * two, 0, 0]
    assert scores[2] == pytest.approx(expected, abs=1e-5)
    assert scores[1, 2] > scores[1, 1] > scores[1, 4]  # popularity orders the rest
    assert scores[:, 0].tolist() == [0, 0, 0]


def test_item_knn_sums_cosines_of_the_items_users(dataset, requests):
    scores = scores_of(dataset, requests, "item", "item_knn", 100, 0.9)
    # Users of items 1, 2, 3: {1 3 4}, {1 2 3 4}, {1 2}. User 3's request follows items 1, 2, 3, the newest last.
    one_two, one_three, two_three = 3 / np.sqrt(12), 1 / np.sqrt(6), 2 / np.sqrt(8)
    expected = [0, 0.9 * one_two + one_three, 0.81 * one_two + two_three, 0.81 * one_three + 0.9 * two_three, 0, 0]
    assert scores[2] == pytest.approx(expected, abs=1e-5)


def test_ease_is_the_closed_form(dataset, requests):
    scores = scores_of(dataset, requests, "item", "ease", 300.0, 1.0)
    matrix = np.zeros((5, 6))
    matrix[dataset.user_rows[dataset.train], dataset.item_rows[dataset.train]] = 1
    # Column by column: ridge regression of an item on all others, which is what the closed form solves.
    for item in range(1, 6):
        others = [row for row in range(6) if row != item]
        design = matrix[:, others]
        weights = np.linalg.solve(design.T @ design + 300 * np.eye(5), design.T @ matrix[:, item])
        requested = np.isin(others, [1, 2, 3]).astype(float)
        assert scores[2, item] == pytest.approx(requested @ weights, abs=1e-5)


def test_ials_lists_what_similar_users_have(small_scenario):
    # Users 1 to 10 have 7 of the items 1 to 10 each, users 11 to 20 have 7 of the items 11 to 20.
    random = np.random.default_rng(0)
    items = np.concatenate([random.permutation(10)[:7] + 1 + 10 * (user > 10) for user in range(1, 21)])
    users = np.repeat(np.arange(1, 21), 7)
    everything = SimpleNamespace(
        item_rows=items,
        user_rows=users,
        train=np.ones(140, dtype=bool),
        catalogues={"items": range(20), "users": users},
    )
    requests = Requests(everything, np.arange(2), np.array([[1, 2], [11, 12]]), np.array([[1, 2], [11, 12]]))
    for candidate in ials(everything, small_scenario.task("item")):
        scores = candidate.score(requests)
        assert scores[0, 3:11].mean() > scores[0, 11:].mean() + 0.005
        assert scores[1, 13:].mean() > scores[1, 1:11].mean() + 0.005


def test_users_alike_share_items(dataset, requests):
    # User 2's request follows items 2, 3, 2: users 1 and 2 have both, users 3 and 4 have item 2.
    assert scores_of(dataset, requests, "user", "user_knn", 0.0, 1.0)[1].tolist() == [0, 3, 3, 2, 2]
    sizes = np.sqrt([3, 2, 2, 2])
    cosine = scores_of(dataset, requests, "user", "user_knn", 0.5, 1.0)[1]
    assert cosine == pytest.approx(np.array([0, *(np.array([3, 3, 2, 2]) / sizes)]))


def test_most_active_counts_liked_training_events(dataset, requests):
    assert scores_of(dataset, requests, "user", "most_active").tolist() == [[0, 2, 2, 1, 1]] * 3


def test_classes_by_popularity(dataset, requests):
    # Nine training events: items 1 1 1 (Comedy), 2 2 2 2 (Drama), 3 3 (both).
    expected = np.array([[5 / 9, 6 / 9, 0, 0]] * 3)
    assert scores_of(dataset, requests, "scene", "popularity") == pytest.approx(expected)


def test_classes_by_the_users_own_history(dataset, requests):
    scores = scores_of(dataset, requests, "scene", "user_histogram", 50, 5.0)
    popularity = np.array([5 / 9, 6 / 9, 0, 0]) * 5
    assert scores[0] == pytest.approx((np.array([2, 2, 1, 0]) + popularity) / 9)  # items 1 2 3 4
    assert scores[1] == pytest.approx((np.array([1, 3, 0, 0]) + popularity) / 8)  # items 2 3 2


def with_task(dataset, kind, values, classes=None):
    """The task `kind` over `values` (n,), added to the data set."""
    task = Task(name=kind, title="", kind=kind, label=Label(source="interaction", column="rating"), classes=classes)
    dataset.labels[kind] = TaskLabels(mask=~np.isnan(values), values=np.nan_to_num(values).astype(np.float32))
    return task


def test_labels_without_a_text_are_answered_by_their_frequency(dataset, requests):
    ratings = dataset.events["rating"].to_numpy(dtype=float)
    liked = with_task(dataset, "binary", np.where(dataset.train, ratings >= 4, np.nan).astype(float))
    # Training ratings: 5 4 2 of user 1, 5 5 of user 2, 3 4 of user 3, 4 1 of user 4.
    share = 6 / 9
    found = baselines_of(dataset, liked)
    assert list(found) == ["majority", "user_mean", "tfidf_logistic"]
    base = next(found["majority"](dataset, liked)).score(requests)
    assert base == pytest.approx(np.full((3, 1), np.log(share / (1 - share))))
    shrunk = next(found["user_mean"](dataset, liked)).score(requests)[:, 0]
    assert 1 / (1 + np.exp(-shrunk)) == pytest.approx(
        np.array([(2 + share) / (3 + 1), (2 + share) / (2 + 1), (1 + share) / (2 + 1)]), abs=1e-5
    )
    stars = with_task(dataset, "regression", np.where(dataset.train, ratings, np.nan))
    means = [float(c.score(requests)[0, 0]) for c in baselines_of(dataset, stars)["mean"](dataset, stars)]
    assert means == pytest.approx([33 / 9, 4.0])


def test_texts_that_tell_the_label_are_read(small_dataset):
    small_dataset = copy.copy(small_dataset)
    small_dataset.labels = dict(small_dataset.labels)
    ages = small_dataset.events["age"].to_numpy(dtype=float)
    occupations, names = np.unique(small_dataset.events["occupation"], return_inverse=True)
    tasks = [
        with_task(small_dataset, "binary", (names == 1).astype(float)),
        with_task(small_dataset, "multiclass", names.astype(float), tuple(occupations)),
        with_task(small_dataset, "regression", ages),
    ]
    requests = split_requests(small_dataset, "test")
    values = []
    for task, name, metric in zip(
        tasks, ("tfidf_logistic", "tfidf_logistic", "tfidf_ridge"), ("auc", "accuracy", "mae"), strict=True
    ):
        *_, last = baselines_of(small_dataset, task)[name](small_dataset, task)
        values.append(value_of(task_statistics(requests, task, last.score(requests))[metric], len(requests)))
    assert values[:2] == [1.0, 1.0]  # the text has the occupation
    assert values[2] < np.abs(ages - ages.mean()).mean()


def test_settings_are_chosen_on_validation(small_dataset):
    validation = split_requests(small_dataset, "validation")
    task = small_dataset.scenario.task("item")
    tuned = tuned_baselines(small_dataset, validation)["item"]["item_knn"]
    tried = [
        value_of(task_statistics(validation, task, candidate.score(validation))[tuned.metric], len(validation))
        for candidate in baselines_of(small_dataset, task)["item_knn"](small_dataset, task)
    ]
    assert tuned.metric == "ndcg@10"
    assert (tuned.tried, tuned.validation) == (len(tried), pytest.approx(max(tried)))
    assert min(tried) < max(tried)
