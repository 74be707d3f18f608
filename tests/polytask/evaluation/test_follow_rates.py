"""Follow rates learned from events."""

import numpy as np
import pytest

from polytask.evaluation.follow_rates import RECENT_EVENTS, _newest, _rates, followed, learn_priorities


def test_the_newest_events_of_each_user(small_dataset):
    chosen = _newest(small_dataset, np.flatnonzero(small_dataset.train))
    for row in np.unique(small_dataset.user_rows):
        own = np.flatnonzero(small_dataset.train & (small_dataset.user_rows == row))
        assert chosen[small_dataset.user_rows[chosen] == row].tolist() == own[-RECENT_EVENTS:].tolist()


def test_rates_lie_between_the_users_own_and_everybodys():
    random = np.random.default_rng(0)
    true = np.array([0.1, 0.9, 0.5])
    users = np.repeat([1, 2, 3], 50)
    values = (random.random(150) < true[users - 1]).astype(np.float64)
    own = np.array([values[users == row].mean() for row in (1, 2, 3)])
    rates = _rates(values, users, np.array([1.0, 0.0, np.nan]), count=4)
    mean = values.mean()
    # Half of the unseen events were followed: the level of all rates; user 4 has no event.
    np.testing.assert_allclose(rates[[0, 4]], 0.5)
    shrunk = rates[1:4] * mean / 0.5
    assert (abs(shrunk - mean) < abs(own - mean)).all()
    np.testing.assert_allclose(shrunk, own, atol=0.05)


def test_users_who_do_not_differ_get_the_same_rate():
    values = np.tile([0.0, 1.0], 10)
    users = np.repeat([1, 2], 10)
    np.testing.assert_allclose(_rates(values, users, values, count=2), 0.5)


def test_events_without_a_label_teach_nothing():
    missing = np.full(3, np.nan)
    assert _rates(missing, np.array([1, 1, 2]), missing, count=2).tolist() == [0.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def model(small_training):
    return small_training[0]


def test_follow_values_are_the_metrics_one_by_one(model, small_dataset):
    from polytask.evaluation.evaluate import evaluate

    tasks = list(small_dataset.scenario.tasks)
    events = np.flatnonzero(small_dataset.split == "test")
    values = followed(model, small_dataset, tasks, events)
    metrics = evaluate(model, small_dataset, "test").metrics
    for task, name in (("item", "hr@10"), ("user", "precision@10"), ("scene", "hr@1")):
        assert np.nanmean(values[task]) == pytest.approx(metrics[task][name], abs=1e-6)
        assert (np.isnan(values[task]) == ~small_dataset.labels[task].mask[events]).all()


def test_priorities_of_a_trained_model(model, small_dataset):
    priorities = learn_priorities(model, small_dataset)
    assert priorities.rates.shape == (len(small_dataset.catalogues["users"]) + 1, 3)
    assert list(priorities.rates.columns) == ["item", "user", "scene"]
    assert ((priorities.rates >= 0) & (priorities.rates <= 1)).all(axis=None)
    validation = np.flatnonzero(small_dataset.split == "validation")
    seen = followed(model, small_dataset, list(small_dataset.scenario.tasks), validation)
    for task, rate in priorities.rates.iloc[0].items():
        assert rate == pytest.approx(np.nanmean(seen[task]))
