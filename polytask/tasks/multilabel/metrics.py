"""The metrics of the kind `multilabel`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from polytask.baselines import simple
from polytask.baselines.candidate import Baseline
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.metrics import ranking
from polytask.metrics.classification import Classification, roc_of
from polytask.metrics.weighted import Statistic, mean_of
from polytask.scenario.schema import Task
from polytask.tasks.classes import likely_classes
from polytask.tasks.lists import LIST_LENGTH, overlap
from polytask.tasks.metrics import OF_ONE, OF_REQUESTS, KindMetrics, Labels, Scores

SHELF_LENGTH = 5


class MultilabelMetrics(KindMetrics):
    """How high the true classes rank."""

    primary = f"ndcg@{SHELF_LENGTH}"
    follow = "hr@1"
    units: ClassVar[Mapping[str, str]] = {f"ndcg@{SHELF_LENGTH}": OF_ONE, "hr@1": OF_REQUESTS}

    def statistics(self, requests: Requests, task: Task, scores: Scores) -> dict[str, Statistic]:
        """Return NDCG over the first five classes, and whether the first is true."""
        relevant = requests.labels(task).astype(np.bool_)
        return {
            f"ndcg@{SHELF_LENGTH}": mean_of(ranking.ndcg_of_classes(scores, relevant, SHELF_LENGTH)),
            "hr@1": mean_of(ranking.first_is_relevant(scores, relevant)),
        }

    def baselines(self, dataset: Dataset, task: Task) -> dict[str, Baseline]:
        """Return the shares of the classes, overall and, for classes of items, in the history of the user."""
        found: dict[str, Baseline] = {"popularity": simple.class_popularity}
        if dataset.labels[task.name].by_item is not None:
            found["user_histogram"] = simple.user_histogram
        return found

    def agreement(self, requests: Requests, task: Task, one: Scores, other: Scores) -> float:
        """Return the mean share that both have of the best half of the classes, at most ten."""
        length = max(1, min(LIST_LENGTH, one.shape[1] // 2))
        return overlap(*(np.argsort(-scores, axis=1, kind="stable")[:, :length] + 1 for scores in (one, other)))

    def classification(self, task: Task, label: Labels, scores: NDArray[np.float64]) -> Classification:
        """Return the curve over all pairs of request and class; several true classes have no confusion matrix."""
        return Classification(roc_of(label.astype(np.bool_), softmax(scores, axis=1)))

    def shares(self, task: Task, label: Labels) -> dict[str, float]:
        """Return class -> share of the events for which it is true."""
        return dict(zip(task.classes or (), label.mean(axis=0).tolist(), strict=True))

    def example(self, task: Task, scores: Scores, label: Any) -> dict[str, Any]:
        """Return the most probable classes, and the names of the true ones."""
        names = None
        if label is not None:
            names = [name for name, holds in zip(task.classes or (), label, strict=True) if holds]
        return {"label": names, "classes": likely_classes(task, scores)}
