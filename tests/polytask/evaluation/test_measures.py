"""Which metrics a task of each kind has, against examples worked out by hand and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as reference

from polytask.data.evaluation_requests import Requests
from polytask.data.labels import TaskLabels
from polytask.evaluation.evaluate import task_metrics
from polytask.evaluation.measures import is_better, listed_rows, primary_metric
from polytask.scenario.schema import Label, Task
from tests.polytask.tiny import tiny_dataset

M = 50


@pytest.fixture(scope="module")
def dataset(small_scenario):
    return tiny_dataset(small_scenario)


def requests_with(values, kind, classes=None):
    """Requests whose labels are `values`, NaN for none, without a data set behind them."""

    class Events:
        labels = {"task": TaskLabels(mask=~np.isnan(values), values=np.nan_to_num(values).astype(np.float32))}  # noqa: RUF012
        item_rows = np.zeros(len(values), dtype=np.int64)

    task = Task(name="task", title="", kind=kind, label=Label(source="interaction", column="rating"), classes=classes)
    none = np.zeros((len(values), 0), dtype=np.int64)
    return Requests(Events(), np.arange(len(values)), none, none), task  # type: ignore[arg-type]


def test_seen_items_and_padding_are_not_ranked(dataset):
    event = np.flatnonzero(dataset.split == "test")[1:2]  # user 2: the next item is 5, seen are 2 and 3
    requests = Requests(dataset, event, np.array([[2, 3, 2]]), np.array([[2, 3, 0]]))
    scores = np.array([[9, 1, 8, 8, 0, 0.5]], dtype=np.float32)
    task = dataset.scenario.task("item")
    assert listed_rows(requests, task, scores).tolist() == [[1, 5, 4, 0, 0, 0]]
    # Training events of items 1 to 5: 3 4 2 0 0, one added to each makes 14.
    information = -np.log2(np.array([4, 1, 1]) / 14).mean()
    expected = {"ndcg@10": 1 / np.log2(3), "hr@10": 1, "mrr@10": 0.5, "mrr": 0.5, "coverage": 0.6}
    assert task_metrics(requests, task, scores) == pytest.approx(
        {**expected, "novelty": information, "popularity_share": 0}
    )


def test_the_user_is_not_its_own_peer(dataset):
    events = np.flatnonzero(dataset.split == "test")[[0, 2]]  # users 1 and 3 request item 1, liked by users 1 and 4
    none = np.zeros((2, 1), dtype=np.int64)
    scores = np.array([[9, 8, 0, 0, 1], [9, 0, 0, 8, 1]], dtype=np.float32)
    requests, task = Requests(dataset, events, none, none), dataset.scenario.task("user")
    assert listed_rows(requests, task, scores).tolist() == [[4, 2, 3, 0, 0], [4, 1, 2, 0, 0]]
    result = task_metrics(requests, task, scores)
    assert result["coverage"] == 1.0
    # Lists of five rows (padding fills up): one peer for user 1, two for user 3.
    assert result["precision@10"] == pytest.approx((1 / 5 + 2 / 5) / 2)


def test_a_task_without_labelled_events_has_no_metrics(dataset):
    events = np.flatnonzero(~dataset.labels["scene"].mask)
    none = np.zeros((1, 1), dtype=np.int64)
    task = dataset.scenario.task("scene")
    assert len(events) == 1
    assert task_metrics(Requests(dataset, events, none, none), task, np.zeros((1, 4), dtype=np.float32)) == {}


def test_multiclass_and_a_missing_label():
    random = np.random.default_rng(1)
    values, logits = random.integers(0, 3, M).astype(float), random.normal(size=(M, 3))
    values[::5] = np.nan
    requests, task = requests_with(values, "multiclass", ("a", "b", "c"))
    there = ~np.isnan(values)
    probability = np.exp(logits[there]) / np.exp(logits[there]).sum(axis=1, keepdims=True)
    assert task_metrics(requests, task, logits) == pytest.approx(
        {
            "accuracy": reference.accuracy_score(values[there], logits[there].argmax(axis=1)),
            "macro_f1": reference.f1_score(values[there], logits[there].argmax(axis=1), average="macro"),
            "log_loss": reference.log_loss(values[there], probability),
        },
        abs=1e-6,
    )


def test_binary_and_a_missing_label():
    random = np.random.default_rng(2)
    values, logits = (random.random(M) < 0.5).astype(float), random.normal(size=(M, 1))
    values[::5] = np.nan
    requests, task = requests_with(values, "binary")
    there = ~np.isnan(values)
    probability = 1 / (1 + np.exp(-logits[there, 0]))
    result = task_metrics(requests, task, logits)
    assert result["auc"] == pytest.approx(reference.roc_auc_score(values[there], logits[there, 0]))
    assert result["accuracy"] == pytest.approx(reference.accuracy_score(values[there], probability > 0.5))
    assert result["log_loss"] == pytest.approx(reference.log_loss(values[there], probability), abs=1e-6)
    assert 0 < result["ece"] < 0.5


def test_regression_and_a_missing_label():
    requests, task = requests_with(np.array([1.0, 2.0, np.nan, 5.0]), "regression")
    result = task_metrics(requests, task, np.array([[1.0], [4.0], [100.0], [4.0]], dtype=np.float32))
    assert result == pytest.approx({"mae": 1.0, "rmse": np.sqrt(5 / 3)})


def test_every_kind_has_its_first_metric(dataset):
    assert [primary_metric(task) for task in dataset.scenario.tasks] == ["ndcg@10", "precision@10", "ndcg@5"]
    assert is_better("ndcg@10", 0.2, 0.1)
    assert is_better("mae", 0.1, 0.2)
    assert is_better("mae", 0.1, float("nan"))
    assert not is_better("mae", float("nan"), 0.1)
