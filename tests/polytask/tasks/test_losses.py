"""Losses against plain NumPy."""

import numpy as np
import pytest
import torch

from polytask.scenario.schema import Label, Task
from polytask.tasks.co_interaction.learning import POSITIVES_POWER, retrieval_loss
from polytask.tasks.learning import learning_of
from polytask.tasks.retrieval.learning import next_item_loss

RANDOM = np.random.default_rng(4)
LOGITS = RANDOM.normal(size=(6, 5)).astype(np.float32)
LABEL = Label(source="interaction", column="x")


def log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def task_of(kind, classes=None):
    return Task(name="t", title="T", kind=kind, classes=classes, label=LABEL)


def class_loss_of(kind, logits, label, classes=None):
    task = task_of(kind, classes)
    return float(learning_of(task).mean_loss(task, torch.from_numpy(logits), torch.from_numpy(label)))


def test_retrieval_is_cross_entropy_against_the_uniform_positives():
    candidates = np.ones((6, 5), dtype=bool)
    candidates[:, 0] = False
    candidates[2, 3] = False
    positives = np.zeros((6, 5), dtype=bool)
    positives[np.arange(6), [1, 2, 4, 1, 3, 2]] = True
    positives[0, 4] = positives[2, 3] = True  # the second is no candidate and counts for nothing
    expected = []
    for row in range(6):
        kept = np.flatnonzero(candidates[row])
        logs = dict(zip(kept.tolist(), log_softmax(LOGITS[row][kept]), strict=True))
        expected.append(-np.mean([logs[n] for n in np.flatnonzero(positives[row] & candidates[row]).tolist()]))
    loss = retrieval_loss(*map(torch.from_numpy, (LOGITS, positives, candidates)))
    weights = [2**POSITIVES_POWER, 1, 1, 1, 1, 1]  # the first row alone has two positives among its candidates
    assert float(loss) == pytest.approx(np.average(expected, weights=weights), rel=1e-6)


def test_retrieval_gradient_is_finite_and_leaves_excluded_rows_alone():
    logits = torch.from_numpy(LOGITS).requires_grad_()
    candidates = torch.tensor([False, True, True, False, True])
    positives = torch.zeros(6, 5, dtype=torch.bool)
    positives[:, 2] = True
    retrieval_loss(logits, positives, candidates).backward()
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[:, ~candidates].any()
    assert logits.grad[:, candidates].all()


def test_next_item_is_retrieval_with_one_positive():
    candidates = torch.tensor([False, True, True, True, True])
    target = torch.tensor([1, 2, 3, 4, 1, 2])
    positives = torch.nn.functional.one_hot(target, 5).bool()
    logits = torch.from_numpy(LOGITS)
    expected = -log_softmax(LOGITS[:, 1:])[np.arange(6), target.numpy() - 1].mean()
    assert float(next_item_loss(logits, target, candidates)) == pytest.approx(expected, rel=1e-6)
    assert float(retrieval_loss(logits, positives, candidates)) == pytest.approx(expected, rel=1e-6)


def test_multiclass():
    label = np.array([0, 4, 2, 2, 1, 3], dtype=np.float32)
    expected = -log_softmax(LOGITS)[np.arange(6), label.astype(int)].mean()
    assert class_loss_of("multiclass", LOGITS, label, tuple("abcde")) == pytest.approx(expected, rel=1e-6)


def test_multilabel_is_cross_entropy_against_the_uniform_true_classes():
    label = np.zeros((6, 5), dtype=bool)
    label[np.arange(6), [0, 1, 2, 3, 4, 0]] = True
    label[0, 3] = label[0, 4] = label[5, 1] = True
    shares = label / label.sum(axis=1, keepdims=True)
    expected = -(shares * log_softmax(LOGITS)).sum(axis=1).mean()
    assert class_loss_of("multilabel", LOGITS, label, tuple("abcde")) == pytest.approx(expected, rel=1e-6)


def test_binary():
    logits, label = LOGITS[:, :1], np.array([0, 1, 1, 0, 1, 0], dtype=np.float32)
    p = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
    expected = -(label * np.log(p) + (1 - label) * np.log(1 - p)).mean()
    assert class_loss_of("binary", logits, label) == pytest.approx(expected, rel=1e-5)


def test_regression_is_huber():
    logits, label = np.array([[1.0], [2.0], [5.0]], dtype=np.float32), np.array([1.5, 2.0, 2.0], dtype=np.float32)
    # Half the square up to a difference of 1, then linear: 0.125, 0 and 3 - 0.5.
    assert class_loss_of("regression", logits, label) == pytest.approx((0.125 + 0.0 + 2.5) / 3, rel=1e-6)
