"""Which metrics a task has: from its scores on some requests to one statistic per metric, by the task's kind."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax

from polytask.data.catalogue import PADDING_ROW
from polytask.evaluation.requests import Requests
from polytask.metrics import ranking as metrics
from polytask.metrics.weighted import (
    Statistic,
    among,
    auc_of,
    calibration_error_of,
    coverage_of,
    macro_f1_of,
    mean_of,
    root_mean_of,
)
from polytask.scenario.schema import Task

Scores = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

LIST_LENGTH = 10
SHELF_LENGTH = 5

# Of these less is better; novelty and popularity_share describe the lists and are neither good nor bad.
LOWER_IS_BETTER = frozenset({"log_loss", "ece", "mae", "rmse"})
DESCRIPTIVE = frozenset({"novelty", "popularity_share"})
_OF_ONE = "no unit, 1 is perfect"
UNITS = {
    f"ndcg@{LIST_LENGTH}": _OF_ONE,
    f"ndcg@{SHELF_LENGTH}": _OF_ONE,
    f"mrr@{LIST_LENGTH}": _OF_ONE,
    "mrr": _OF_ONE,
    "macro_f1": _OF_ONE,
    "auc": "no unit, .5 is chance",
    "ece": "mean difference of probability",
    "mae": "in the unit of the label",
    "rmse": "in the unit of the label",
    f"excess_precision@{LIST_LENGTH}": "share of the places",
    "novelty": "bits",
    "log_loss": "nats",
    "coverage": "share of the catalogue",
    "popularity_share": "share of the places",
    f"hr@{LIST_LENGTH}": "share of the requests",
    "hr@1": "share of the requests",
    f"precision@{LIST_LENGTH}": "share of the places",
    "accuracy": "share of the requests",
}


def primary_metric(task: Task) -> str:
    """The metric that baselines are tuned for and that is shown first."""
    if task.kind == "retrieval":
        return f"precision@{LIST_LENGTH}" if task.label.source == "peers" else f"ndcg@{LIST_LENGTH}"
    return {"multiclass": "macro_f1", "binary": "auc", "regression": "mae", "multilabel": f"ndcg@{SHELF_LENGTH}"}[
        task.kind
    ]


def is_better(metric: str, one: float, other: float) -> bool:
    """Whether the value `one` of a metric is better than `other`; any number is better than NaN."""
    if np.isnan(other):
        return not np.isnan(one)
    return one < other if metric in LOWER_IS_BETTER else one > other


def task_statistics(requests: Requests, task: Task, scores: Scores) -> dict[str, Statistic]:
    """The metrics of one task over m requests, as functions of weights (b, m); none where no request has a label.

    `scores`: retrieval (m, N + 1); multiclass and multilabel logits (m, C); binary a logit, regression a value, (m,) or
    (m, 1). Requests without a label take no part.
    """
    labelled = requests.labelled(task)
    if not labelled.any():
        return {}
    label, scores = requests.labels(task), scores[labelled]
    if task.kind == "retrieval":
        own = _peers(requests, task, scores) if task.label.source == "peers" else _items(requests, task, scores)
    elif task.kind == "multilabel":
        own = _multilabel(scores, label.astype(np.bool_))
    elif task.kind == "multiclass":
        own = _multiclass(scores, label.astype(np.int64))
    elif task.kind == "binary":
        own = _binary(scores.reshape(-1).astype(np.float64), label > 0)
    else:
        error = scores.reshape(-1).astype(np.float64) - label
        own = {"mae": mean_of(np.abs(error)), "rmse": root_mean_of(error**2)}
    return {name: among(statistic, labelled) for name, statistic in own.items()}


def listed_rows(requests: Requests, task: Task, scores: Scores, k: int = LIST_LENGTH) -> IntArray:
    """The list (m, k) of each request, best first, 0 where nothing is left to list."""
    return _listed(_allowed(requests, task, scores, np.ones(len(requests), dtype=np.bool_)), k)


def _items(requests: Requests, task: Task, scores: Scores) -> dict[str, Statistic]:
    labelled = requests.labelled(task)
    allowed = _allowed(requests, task, scores, labelled)
    # A target that the user has seen before could never be listed: it stays ranked, last.
    ranks = metrics.ranks_of(allowed, requests.labels(task).astype(np.int64))
    dataset = requests.dataset
    return {
        f"ndcg@{LIST_LENGTH}": mean_of(metrics.ndcg_of_rank(ranks, LIST_LENGTH)),
        f"hr@{LIST_LENGTH}": mean_of(metrics.hit_rate(ranks, LIST_LENGTH)),
        f"mrr@{LIST_LENGTH}": mean_of(metrics.reciprocal_rank(ranks, LIST_LENGTH)),
        "mrr": mean_of(metrics.reciprocal_rank(ranks)),
        **_list_statistics(_listed(allowed), _counts(dataset.item_rows[dataset.train], scores.shape[1])),
    }


def _peers(requests: Requests, task: Task, scores: Scores) -> dict[str, Statistic]:
    """The user itself is neither listed nor counted as its own peer."""
    labelled = requests.labelled(task)
    itself = requests.user_rows[labelled]
    positives = requests.labels(task).astype(np.bool_)  # a copy: labels are looked up
    positives[np.arange(len(itself)), itself] = False
    allowed = _allowed(requests, task, scores, labelled)
    top = metrics.top_rows(allowed, LIST_LENGTH)
    dataset = requests.dataset
    return {
        f"precision@{LIST_LENGTH}": mean_of(metrics.precision(top, positives)),
        f"excess_precision@{LIST_LENGTH}": mean_of(metrics.excess_precision(top, positives)),
        **_list_statistics(_listed(allowed), _counts(dataset.user_rows[dataset.train], scores.shape[1])),
    }


def _list_statistics(listed: IntArray, counts: IntArray) -> dict[str, Statistic]:
    return {
        "coverage": coverage_of(listed, len(counts) - 1),
        "novelty": mean_of(metrics.novelty(listed, counts)),
        "popularity_share": mean_of(metrics.popularity_share(listed, counts)),
    }


def _multilabel(scores: Scores, relevant: BoolArray) -> dict[str, Statistic]:
    return {
        f"ndcg@{SHELF_LENGTH}": mean_of(metrics.ndcg_of_classes(scores, relevant, SHELF_LENGTH)),
        "hr@1": mean_of(metrics.first_is_relevant(scores, relevant)),
    }


def _multiclass(scores: Scores, label: IntArray) -> dict[str, Statistic]:
    log_probability = log_softmax(scores.astype(np.float64), axis=1)
    predicted: IntArray = scores.argmax(axis=1)
    return {
        "accuracy": mean_of((predicted == label).astype(np.float64)),
        "macro_f1": macro_f1_of(predicted, label),
        "log_loss": mean_of(-np.take_along_axis(log_probability, label[:, None], axis=1)[:, 0]),
    }


def _binary(logits: NDArray[np.float64], positive: BoolArray) -> dict[str, Statistic]:
    # log(1 + e^-z) for a positive, log(1 + e^z) for a negative.
    return {
        "auc": auc_of(logits, positive),
        "accuracy": mean_of(((logits > 0) == positive).astype(np.float64)),
        "ece": calibration_error_of(expit(logits), positive),
        "log_loss": mean_of(np.logaddexp(0.0, np.where(positive, -logits, logits))),
    }


def _allowed(requests: Requests, task: Task, scores: Scores, chosen: BoolArray) -> Scores:
    """Scores of the chosen requests with -inf on what may not be listed: padding, seen items, the user itself."""
    allowed = scores.copy()
    allowed[:, PADDING_ROW] = -np.inf
    if task.catalogue == "users":
        allowed[np.arange(len(allowed)), requests.user_rows[chosen]] = -np.inf
    else:
        # Padding fills `seen` up with row 0, which is masked anyway.
        np.put_along_axis(allowed, requests.seen[chosen], -np.inf, axis=1)
    return allowed


def _listed(allowed: Scores, k: int = LIST_LENGTH) -> IntArray:
    top = metrics.top_rows(allowed, k)
    rows: IntArray = np.where(np.isfinite(np.take_along_axis(allowed, top, axis=1)), top, PADDING_ROW)
    return rows


def _counts(rows: IntArray, size: int) -> IntArray:
    counts: IntArray = np.bincount(rows, minlength=size)
    counts[PADDING_ROW] = 0
    return counts
