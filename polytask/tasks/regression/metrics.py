"""The metrics of the kind `regression`."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from polytask.baselines import simple, texts
from polytask.baselines.candidate import Baseline
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.metrics.weighted import Statistic, mean_of, root_mean_of
from polytask.scenario.schema import Task
from polytask.tasks.metrics import KindMetrics, Scores

OF_LABEL = "in the unit of the label"


class RegressionMetrics(KindMetrics):
    """How far the number is from the label."""

    primary = "mae"
    lower_is_better = frozenset({"mae", "rmse"})
    units: ClassVar[Mapping[str, str]] = {"mae": OF_LABEL, "rmse": OF_LABEL}

    def statistics(self, requests: Requests, task: Task, scores: Scores) -> dict[str, Statistic]:
        """Return the mean absolute error and the root of the mean squared error."""
        error = scores.reshape(-1).astype(np.float64) - requests.labels(task)
        return {"mae": mean_of(np.abs(error)), "rmse": root_mean_of(error**2)}

    def baselines(self, dataset: Dataset, task: Task) -> dict[str, Baseline]:
        """Return the mean, the user's own mean, and a ridge regression on the tokens of the text."""
        found: dict[str, Baseline] = {"mean": simple.mean}
        if simple.has_user_means(dataset):
            found["user_mean"] = simple.user_mean
        return {**found, "tfidf_ridge": texts.tfidf_ridge}

    def agreement(self, requests: Requests, task: Task, one: Scores, other: Scores) -> float:
        """Return the correlation of the numbers."""
        x, y = one.reshape(-1), other.reshape(-1)
        return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else float(np.allclose(x, y))
