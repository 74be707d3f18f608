"""Charts of the predictions of a task with classes: a ROC curve and a confusion matrix, small enough to display."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Points of a curve at most: more would not be seen, and an artefact's metadata is no place for data.
POINTS = 200


@dataclass(frozen=True)
class Roc:
    """n points from (0, 0) to (1, 1): false and true positive rate (n,) at thresholds of probability (n,)."""

    fpr: list[float] = field(default_factory=list)
    tpr: list[float] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Classification:
    """The curve, and counts of requests, actual class by predicted class; empty where the task's kind has none.

    The curve of several classes is over all pairs of request and class (micro average). A request of a multilabel task
    may have several classes, so that there is no matrix of one against another.
    """

    roc: Roc = field(default_factory=Roc)
    categories: list[str] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)


def roc_of(positive: NDArray[np.bool_], probability: NDArray[np.float64]) -> Roc:
    """The curve over all entries of two arrays of one shape, thinned to `POINTS`; empty where all entries are alike."""
    from sklearn.metrics import roc_curve

    positive, probability = positive.reshape(-1), probability.reshape(-1)
    if positive.all() or not positive.any():
        return Roc()
    fpr, tpr, threshold = roc_curve(positive, probability)
    kept = np.unique(np.linspace(0, len(fpr) - 1, POINTS).astype(np.int64))
    # The first point is above all probabilities: scikit-learn returns infinity, which JSON does not have.
    return Roc(*(values[kept].tolist() for values in (fpr, tpr, np.minimum(threshold, 1.0))))


def confusion(actual: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> list[list[int]]:
    """Return counts of requests, actual class (m,) by predicted class (m,)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (actual, predicted), 1)
    rows: list[list[int]] = counts.tolist()
    return rows
