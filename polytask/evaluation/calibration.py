"""Calibration of predicted probabilities: the points of a reliability diagram."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from polytask.data.evaluation_requests import Requests
from polytask.evaluation.study import Method
from polytask.scenario.schema import Task
from polytask.tasks.metrics import metrics_of

BINS = 10


def calibration(requests: Requests, methods: Mapping[str, Method]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Per task with one probability and method the points of its diagram; see `reliability`."""
    tasks = [task for task in requests.dataset.scenario.tasks if metrics_of(task).has_probability]
    if not tasks:
        return {}
    scores = {name: method(requests) for name, method in methods.items()}
    return {
        task.name: {name: reliability(requests, task, s[task.name]) for name, s in scores.items() if task.name in s}
        for task in tasks
    }


def reliability(requests: Requests, task: Task, scores: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Per tenth of the probability that holds a request: mean probability, observed share, number of requests.

    `task` has one probability, `scores` (m,) or (m, 1) are its logits.
    """
    labelled = requests.labelled(task)
    positive = requests.labels(task) > 0
    probability = expit(scores.reshape(-1)[labelled].astype(np.float64))
    number = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    return [
        {
            "probability": float(probability[number == n].mean()),
            "share": float(positive[number == n].mean()),
            "requests": int((number == n).sum()),
        }
        for n in range(BINS)
        if (number == n).any()
    ]
