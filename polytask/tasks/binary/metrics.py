"""The metrics of the kind `binary`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from polytask.baselines import simple, texts
from polytask.baselines.candidate import Baseline
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.metrics.classification import Classification, confusion, roc_of
from polytask.metrics.weighted import Statistic, auc_of, calibration_error_of, mean_of
from polytask.scenario.schema import Task
from polytask.tasks.metrics import OF_REQUESTS, KindMetrics, Labels, Scores

YES_OR_NO = ("no", "yes")


class BinaryMetrics(KindMetrics):
    """Whether yes is more probable where the label is yes."""

    primary = "auc"
    follow = "accuracy"
    lower_is_better = frozenset({"log_loss", "ece"})
    units: ClassVar[Mapping[str, str]] = {
        "auc": "no unit, .5 is chance",
        "accuracy": OF_REQUESTS,
        "ece": "mean difference of probability",
        "log_loss": "nats",
    }
    has_probability = True

    def statistics(self, requests: Requests, task: Task, scores: Scores) -> dict[str, Statistic]:
        """Return AUC, accuracy, calibration error and log loss."""
        logits, positive = scores.reshape(-1).astype(np.float64), requests.labels(task) > 0
        # log(1 + e^-z) for a positive, log(1 + e^z) for a negative.
        return {
            "auc": auc_of(logits, positive),
            "accuracy": mean_of(((logits > 0) == positive).astype(np.float64)),
            "ece": calibration_error_of(expit(logits), positive),
            "log_loss": mean_of(np.logaddexp(0.0, np.where(positive, -logits, logits))),
        }

    def baselines(self, dataset: Dataset, task: Task) -> dict[str, Baseline]:
        """Return the base rate, the user's own rate, and a logistic regression on the tokens of the text."""
        found: dict[str, Baseline] = {"majority": simple.majority}
        if simple.has_user_means(dataset):
            found["user_mean"] = simple.user_rate
        return {**found, "tfidf_logistic": texts.tfidf_logistic}

    def agreement(self, requests: Requests, task: Task, one: Scores, other: Scores) -> float:
        """Return the share of requests on which both are positive or both are negative."""
        return float(((one > 0) == (other > 0)).mean())

    def classification(self, task: Task, label: Labels, scores: NDArray[np.float64]) -> Classification:
        """Return the ROC curve, and the confusion matrix at a probability of 0.5."""
        positive, probability = label > 0, expit(scores.reshape(-1))
        counts = confusion(positive * 1, (probability > 0.5) * 1, 2)
        return Classification(roc_of(positive, probability), list(YES_OR_NO), counts)

    def shares(self, task: Task, label: Labels) -> dict[str, float]:
        """Return the share of yes."""
        return {"yes": float(label.mean())}

    def example(self, task: Task, scores: Scores, label: Any) -> dict[str, Any]:
        """Return the probability, and whether the label is yes."""
        probability = float(expit(float(scores.reshape(-1)[0])))
        return {"label": None if label is None else bool(label), "value": probability}
