"""The metrics of a kind (NumPy): statistics, baselines, charts and the agreement of two models."""

from collections.abc import Mapping
from functools import cache
from pkgutil import resolve_name
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polytask.baselines.candidate import Baseline
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.metrics.classification import Classification
from polytask.metrics.weighted import Statistic
from polytask.scenario.schema import Task
from polytask.tasks.kind import KINDS, kind_of

Scores = NDArray[np.float32]
Labels = NDArray[Any]

OF_ONE = "no unit, 1 is perfect"
OF_REQUESTS = "share of the requests"
OF_PLACES = "share of the places"
# Descriptions of lists, neither good nor bad.
DESCRIPTIVE = frozenset({"novelty", "popularity_share"})


class KindMetrics:
    """The metrics of one kind. An instance has no state.

    Scores are what the model and the baselines return for m requests: logits (m, N + 1) of a catalogue, logits (m, C)
    of classes, one logit or value (m, 1).

    Attributes:
        primary: The metric that is first, by which baselines are tuned and versions compared.
        follow: The metric that measures per request whether a suggestion was followed, 0 to 1, or None.
        lower_is_better: Metrics of which less is better.
        units: Metric -> unit, for reports.
        has_probability: Whether a score is one probability, so that it has a reliability diagram.
    """

    primary: ClassVar[str]
    follow: ClassVar[str | None] = None
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    units: ClassVar[Mapping[str, str]] = {}
    has_probability: ClassVar[bool] = False

    def statistics(self, requests: Requests, task: Task, scores: Scores) -> dict[str, Statistic]:
        """Return metric -> function of weights (b, k) over the k requests that have a label.

        Args:
            requests: All m requests.
            task: The task.
            scores: The scores of the labelled requests, (k, ...).
        """
        raise NotImplementedError(f"{type(self).__name__} has no statistics")

    def baselines(self, dataset: Dataset, task: Task) -> dict[str, Baseline]:
        """Return the baselines of `task` by name. The spec of the kind names those that may be a gate."""
        return {}

    def agreement(self, requests: Requests, task: Task, one: Scores, other: Scores) -> float:
        """Return how far two models agree on m requests, 1 where all predictions are the same."""
        raise NotImplementedError(f"{type(self).__name__} compares no scores")

    def classification(self, task: Task, label: Labels, scores: NDArray[np.float64]) -> Classification:
        """Return the ROC curve and the confusion matrix over k labelled requests; empty without classes."""
        return Classification()

    def shares(self, task: Task, label: Labels) -> dict[str, float]:
        """Return class -> share of k labelled events, which `polytask check` prints; empty without classes."""
        return {}

    def example(self, task: Task, scores: Scores, label: Any) -> dict[str, Any]:
        """Return the prediction for one request as the report shows it, for a task without a catalogue.

        Args:
            task: The task.
            scores: Its scores, (1, C).
            label: Its label, None if there is none.
        """
        return {"label": None if label is None else float(label), "value": float(scores.reshape(-1)[0])}


@cache
def _metrics(name: str) -> KindMetrics:
    metrics: KindMetrics = resolve_name(name)()
    return metrics


def metrics_of(task: Task) -> KindMetrics:
    """Return the metrics of the kind of `task`."""
    return _metrics(kind_of(task).metrics)


def lower_is_better() -> frozenset[str]:
    """Return the metrics of all kinds of which less is better."""
    return frozenset().union(*(_metrics(kind.metrics).lower_is_better for kind in KINDS.values()))


def units() -> dict[str, str]:
    """Return metric -> unit, of all kinds."""
    return {name: unit for kind in KINDS.values() for name, unit in _metrics(kind.metrics).units.items()}
