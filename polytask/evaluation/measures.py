"""Which metrics a task has: from its scores on some requests to one statistic per metric, by the task's kind."""

import numpy as np
from numpy.typing import NDArray

from polytask.data.evaluation_requests import Requests
from polytask.metrics.classification import Classification
from polytask.metrics.weighted import Statistic, among
from polytask.scenario.schema import Task
from polytask.tasks.lists import LIST_LENGTH, listed_rows
from polytask.tasks.metrics import DESCRIPTIVE, lower_is_better, metrics_of, units

__all__ = [
    "DESCRIPTIVE",
    "LIST_LENGTH",
    "classification_of",
    "is_better",
    "listed_rows",
    "lower_is_better",
    "primary_metric",
    "task_statistics",
    "units",
]

Scores = NDArray[np.float32]


def primary_metric(task: Task) -> str:
    """Return the primary metric, for which baselines are tuned."""
    return metrics_of(task).primary


def is_better(metric: str, one: float, other: float) -> bool:
    """Whether the value `one` of a metric is better than `other`; any number is better than NaN."""
    if np.isnan(other):
        return not np.isnan(one)
    return one < other if metric in lower_is_better() else one > other


def task_statistics(requests: Requests, task: Task, scores: Scores) -> dict[str, Statistic]:
    """The metrics of one task over m requests, as functions of weights (b, m); none where no request has a label.

    `scores`: retrieval (m, N + 1); multiclass and multilabel logits (m, C); binary a logit, regression a value, (m,) or
    (m, 1). Requests without a label take no part.
    """
    labelled = requests.labelled(task)
    if not labelled.any():
        return {}
    own = metrics_of(task).statistics(requests, task, scores[labelled])
    return {name: among(statistic, labelled) for name, statistic in own.items()}


def classification_of(requests: Requests, task: Task, scores: Scores) -> Classification:
    """From a task's scores on m requests, as `task_statistics` takes them; those without a label take no part."""
    labelled = requests.labelled(task)
    if not labelled.any():
        return Classification()
    return metrics_of(task).classification(task, requests.labels(task), scores[labelled].astype(np.float64))
