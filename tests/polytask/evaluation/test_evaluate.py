"""Evaluation: the model and the baselines score the same requests."""

import numpy as np
import pytest

from polytask.data.evaluation_requests import split_requests
from polytask.evaluation.evaluate import evaluate_splits, model_scores


@pytest.fixture(scope="module")
def evaluations(small_training, small_dataset):
    return evaluate_splits(small_training[0], small_dataset)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_model_and_baselines_answer_one_request_per_user(evaluations, split):
    result = evaluations[split]
    assert (result.split, result.requests) == (split, 30)
    lists = {"coverage", "novelty", "popularity_share"}
    assert result.metrics["item"].keys() == {"hr@10", "mrr", "mrr@10", "ndcg@10"} | lists
    assert result.metrics["user"].keys() == {"excess_precision@10", "precision@10"} | lists
    assert result.metrics["scene"].keys() == {"hr@1", "ndcg@5"}
    for task, baselines in result.baselines.items():
        assert baselines
        assert all(metrics.keys() == result.metrics[task].keys() for metrics in baselines.values())
    # A list that is the same for everybody, but for the user itself, is worth no more than its popularity.
    assert abs(result.baselines["user"]["most_active"]["excess_precision@10"]) < 0.05
    assert result.baselines["item"]["popularity"]["popularity_share"] > result.metrics["item"]["popularity_share"]


def test_both_splits_use_the_settings_that_validation_chose(evaluations):
    assert evaluations["validation"].settings == evaluations["test"].settings
    assert evaluations["test"].settings["item"]["markov"].keys() == {"decay", "lags"}


def test_scores_do_not_depend_on_the_batch(small_training, small_dataset, monkeypatch):
    requests = split_requests(small_dataset, "test")
    whole = model_scores(small_training[0], small_dataset, requests.events, requests.history)
    monkeypatch.setattr("polytask.evaluation.evaluate.BATCH", 7)
    for name, scores in model_scores(small_training[0], small_dataset, requests.events, requests.history).items():
        np.testing.assert_allclose(scores, whole[name], rtol=1e-4, atol=1e-5)
