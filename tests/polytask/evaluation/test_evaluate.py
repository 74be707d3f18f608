"""Evaluation: which rows are ranked, and that the model and the baselines answer the same requests."""

import numpy as np
import pytest

from polytask.evaluation.evaluate import evaluate, model_scores, task_metrics
from polytask.tensors import HISTORY
from tests.polytask.tiny import tiny_dataset


@pytest.fixture(scope="module")
def dataset(small_scenario):
    return tiny_dataset(small_scenario)


def test_seen_items_and_padding_are_not_ranked(dataset):
    events = np.flatnonzero(dataset.split == "test")[1:2]  # user 2: the next item is 5, seen are 2 and 3
    scores = np.array([[9, 1, 8, 8, 0, 0.5]], dtype=np.float32)
    task = dataset.scenario.task("item")
    result = task_metrics(dataset, task, events, scores, np.array([[2, 3, 0]]))
    assert result == pytest.approx({"ndcg@10": 1 / np.log2(3), "hr@10": 1, "mrr": 0.5, "coverage": 0.6})


def test_the_user_is_not_its_own_peer(dataset):
    events = np.flatnonzero(dataset.split == "test")[[0, 2]]  # users 1 and 3 ask about item 1, liked by users 1 and 4
    task = dataset.scenario.task("user")
    scores = np.array([[9, 8, 0, 0, 1], [9, 0, 0, 8, 1]], dtype=np.float32)
    result = task_metrics(dataset, task, events, scores, np.zeros((2, 1), dtype=np.int64))
    assert result["coverage"] == 1.0
    # Lists of five rows (padding fills up): one peer for user 1, two for user 3.
    assert result["precision@10"] == pytest.approx((1 / 5 + 2 / 5) / 2)


def test_a_task_without_labelled_events_has_no_metrics(dataset):
    events = np.flatnonzero(~dataset.labels["scene"].mask)
    task = dataset.scenario.task("scene")
    assert len(events) == 1
    assert task_metrics(dataset, task, events, np.zeros((1, 4), dtype=np.float32), np.zeros((1, 1), dtype=int)) == {}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_model_and_baselines_answer_one_request_per_user(small_training, small_dataset, split):
    result = evaluate(small_training[0], small_dataset, split)
    assert (result.split, result.requests) == (split, 30)
    assert sorted(result.metrics["item"]) == ["coverage", "hr@10", "mrr", "ndcg@10"]
    assert sorted(result.metrics["user"]) == ["coverage", "excess_precision@10", "precision@10"]
    assert sorted(result.metrics["scene"]) == ["hr@1", "ndcg@5"]
    for task, baselines in result.baselines.items():
        assert baselines
        assert all(metrics.keys() == result.metrics[task].keys() for metrics in baselines.values())
    # A list that is the same for everybody, but for the user itself, is worth no more than its popularity.
    assert abs(result.baselines["user"]["most_active"]["excess_precision@10"]) < 0.05


def test_scores_do_not_depend_on_the_batch(small_training, small_dataset, monkeypatch):
    events = np.flatnonzero(small_dataset.split == "test")
    history = small_dataset.request_encoder().rows(small_dataset.requests(events))[HISTORY]
    whole = model_scores(small_training[0], small_dataset, events, history)
    monkeypatch.setattr("polytask.evaluation.evaluate.BATCH", 7)
    for name, scores in model_scores(small_training[0], small_dataset, events, history).items():
        np.testing.assert_allclose(scores, whole[name], rtol=1e-4, atol=1e-5)
