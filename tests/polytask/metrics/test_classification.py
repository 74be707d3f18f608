"""ROC curve and confusion matrix: against the AUC, by hand, bounded, and empty where there is nothing to show."""

import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from polytask.errors import DataError
from polytask.evaluation.measures import classification_of
from polytask.evaluation.report.charts import charts_of
from polytask.metrics.classification import POINTS, Classification, Roc, roc_of
from polytask.metrics.weighted import auc_of, value_of
from polytask.scenario.tasks import Task


def task_of(kind: str, classes: tuple[str, ...] | None = None) -> Task:
    label = {"source": "interaction", "column": "x"}
    return Task(name="x", title="X", kind=kind, label=label, classes=classes)


def requests_with(labels: np.ndarray, labelled: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(labelled=lambda task: labelled, labels=lambda task: labels)


def test_a_binary_task():
    random = np.random.default_rng(1)
    labelled = random.random(3000) < 0.8
    positive = random.random(int(labelled.sum())) < 0.3
    logits = random.normal(size=3000)
    logits[labelled] += positive
    found = classification_of(requests_with(positive * 1.0, labelled), task_of("binary"), logits[:, None])
    roc = found.roc
    assert len(roc.fpr) == len(roc.tpr) == len(roc.threshold) == POINTS
    assert (roc.fpr[0], roc.tpr[0], roc.fpr[-1], roc.tpr[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert roc.threshold == sorted(roc.threshold, reverse=True)
    assert roc.threshold[0] == 1.0
    area = np.trapezoid(roc.tpr, roc.fpr)
    assert area == pytest.approx(value_of(auc_of(logits[labelled], positive), len(positive)), abs=2e-3)
    # At each threshold the rates are those of the predictions themselves.
    probability = 1 / (1 + np.exp(-logits[labelled]))
    middle = POINTS // 2
    above = probability >= roc.threshold[middle]
    assert roc.tpr[middle] == pytest.approx(above[positive].mean())
    assert roc.fpr[middle] == pytest.approx(above[~positive].mean())
    yes = logits[labelled] > 0
    assert found.categories == ["no", "yes"]
    assert found.confusion == [
        [int((~positive & ~yes).sum()), int((~positive & yes).sum())],
        [int((positive & ~yes).sum()), int((positive & yes).sum())],
    ]
    json.dumps(asdict(found), allow_nan=False)


def test_classes_by_hand():
    scores = np.array([[3.0, 1, 0], [0, 2, 1], [0, 2, 1], [9, 9, 9]], dtype=np.float32)
    labelled = np.array([True, True, True, False])
    found = classification_of(
        requests_with(np.array([0.0, 1, 2]), labelled), task_of("multiclass", ("a", "b", "c")), scores
    )
    assert found.categories == ["a", "b", "c"]
    assert found.confusion == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    # The three right probabilities against the six wrong ones, one of which is as high as two right ones.
    assert (found.roc.fpr[1], found.roc.tpr[1]) == (0.0, pytest.approx(1 / 3))


def test_several_classes_at_once_have_a_curve_alone():
    labels = np.array([[True, False], [True, True]])
    found = classification_of(
        requests_with(labels, np.array([True, True])), task_of("multilabel", ("a", "b")), np.array([[2.0, 0], [1, 0]])
    )
    assert (found.categories, found.confusion) == ([], [])
    assert found.roc.tpr[-1] == 1.0
    assert np.trapezoid(found.roc.tpr, found.roc.fpr) == pytest.approx(1.0)  # .12 of the one wrong pair is the least


def test_nothing_to_show():
    alike = np.array([True, True])
    assert roc_of(alike, np.array([0.1, 0.2])) == roc_of(~alike, np.array([0.1, 0.2])) == Roc()
    none = requests_with(np.zeros(0), np.array([False, False]))
    assert classification_of(none, task_of("binary"), np.zeros(2)) == Classification()
    some = requests_with(np.array([1.0]), np.array([True]))
    assert classification_of(some, task_of("regression"), np.zeros(1)) == Classification()


def test_charts_are_read_back(tmp_path):
    roc = Roc([0.0, 1.0], [0.0, 1.0], [1.0, 0.0])
    shown = {"stars": asdict(Classification()), "liked": asdict(Classification(roc, ["no", "yes"], [[1, 0], [0, 2]]))}
    metrics = {"stars": {"mae": 0.5}, "liked": {"auc": float("nan"), "accuracy": 1.0}}
    file = tmp_path / "evaluation.json"
    file.write_text(json.dumps({"test": {"metrics": metrics, "classification": shown}}))
    liked = charts_of(file, "liked")
    assert liked.metrics == {"accuracy": 1.0}
    assert (liked.roc, liked.categories, liked.confusion) == (asdict(roc), ["no", "yes"], [[1, 0], [0, 2]])
    assert charts_of(file, "stars").confusion == []
    with pytest.raises(DataError, match="no task 'other'; allowed: stars, liked"):
        charts_of(file, "other")
