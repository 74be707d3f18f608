"""The metrics of the kind `multiclass`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from polytask.baselines import simple, texts
from polytask.baselines.candidate import Baseline
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.metrics.classification import Classification, confusion, roc_of
from polytask.metrics.weighted import Statistic, macro_f1_of, mean_of
from polytask.scenario.schema import Task
from polytask.tasks.classes import likely_classes
from polytask.tasks.metrics import OF_ONE, OF_REQUESTS, KindMetrics, Labels, Scores

IntArray = NDArray[np.int64]


class MulticlassMetrics(KindMetrics):
    """Whether the class is right."""

    primary = "macro_f1"
    follow = "accuracy"
    lower_is_better = frozenset({"log_loss"})
    units: ClassVar[Mapping[str, str]] = {"accuracy": OF_REQUESTS, "macro_f1": OF_ONE, "log_loss": "nats"}

    def statistics(self, requests: Requests, task: Task, scores: Scores) -> dict[str, Statistic]:
        """Return accuracy, macro F1 and log loss."""
        label = requests.labels(task).astype(np.int64)
        log_probability = log_softmax(scores.astype(np.float64), axis=1)
        predicted: IntArray = scores.argmax(axis=1)
        return {
            "accuracy": mean_of((predicted == label).astype(np.float64)),
            "macro_f1": macro_f1_of(predicted, label),
            "log_loss": mean_of(-np.take_along_axis(log_probability, label[:, None], axis=1)[:, 0]),
        }

    def baselines(self, dataset: Dataset, task: Task) -> dict[str, Baseline]:
        """Return the shares of the classes, and a logistic regression on the tokens of the text."""
        return {"majority": simple.majority, "tfidf_logistic": texts.tfidf_logistic}

    def agreement(self, requests: Requests, task: Task, one: Scores, other: Scores) -> float:
        """Return the share of requests with the same class."""
        return float((one.argmax(axis=1) == other.argmax(axis=1)).mean())

    def classification(self, task: Task, label: Labels, scores: NDArray[np.float64]) -> Classification:
        """Return the curve over all pairs of request and class, and the confusion matrix."""
        probability, names, actual = softmax(scores, axis=1), list(task.classes or ()), label.astype(np.int64)
        is_actual = actual[:, None] == np.arange(len(names))
        counts = confusion(actual, scores.argmax(axis=1), len(names))
        return Classification(roc_of(is_actual, probability), names, counts)

    def shares(self, task: Task, label: Labels) -> dict[str, float]:
        """Return class -> share of the events."""
        return {name: float((label == number).mean()) for number, name in enumerate(task.classes or ())}

    def example(self, task: Task, scores: Scores, label: Any) -> dict[str, Any]:
        """Return the most probable classes, and the name of the true one."""
        name = None if label is None else (task.classes or ())[int(label)]
        return {"label": name, "classes": likely_classes(task, scores)}
