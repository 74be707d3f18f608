"""Metrics over weighted requests: one function per metric, from weights (b, m) over m requests to values (b,).

Weights of one give the metric itself, weights of 0 and 1 the metric of a slice, and the counts of a resample its
bootstrap value: one formula serves all three. A row of weights that are all zero gives NaN.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Weights = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Statistic = Callable[[Weights], FloatArray]

CALIBRATION_BINS = 15


def once(m: int) -> Weights:
    """Every request counted once, (1, m)."""
    return np.ones((1, m), dtype=np.float32)


def value_of(statistic: Statistic, m: int) -> float:
    """The metric over all m requests."""
    return float(statistic(once(m))[0])


def among(statistic: Statistic, chosen: BoolArray) -> Statistic:
    """A statistic of the chosen requests, `chosen` (m,), as a function of the weights of all m."""
    return lambda weights: statistic(weights[:, chosen])


def mean_of(values: FloatArray) -> Statistic:
    """The mean of a value per request (m,)."""
    per_request = values.astype(np.float32)
    return lambda weights: _ratio(weights @ per_request, weights.sum(axis=1))


def root_mean_of(squares: FloatArray) -> Statistic:
    """The root of the mean of a value per request (m,): RMSE from squared errors."""
    mean = mean_of(squares)
    return lambda weights: np.sqrt(mean(weights))


def coverage_of(listed: IntArray, rows: int) -> Statistic:
    """Share of a catalogue's `rows` that are in at least one list; `listed` (m, k) rows from 1 on, 0 for no row."""
    stands = np.zeros((len(listed), rows + 1), dtype=np.float32)
    np.put_along_axis(stands, listed, 1.0, axis=1)

    def statistic(weights: Weights) -> FloatArray:
        counted = ((weights > 0).astype(np.float32) @ stands)[:, 1:] > 0
        return np.where(weights.sum(axis=1) > 0, counted.mean(axis=1), np.nan)

    return statistic


def auc_of(scores: FloatArray, positive: BoolArray) -> Statistic:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counted half (m,)."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    is_positive = positive[order]

    def statistic(weights: Weights) -> FloatArray:
        ordered = weights[:, order].astype(np.float64)
        positives = np.add.reduceat(ordered * is_positive, starts, axis=1)
        negatives = np.add.reduceat(ordered * ~is_positive, starts, axis=1)
        below = np.cumsum(negatives, axis=1) - 0.5 * negatives
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        return _ratio((positives * below).sum(axis=1), pairs)

    return statistic


def macro_f1_of(predicted: IntArray, actual: IntArray) -> Statistic:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN), over the classes that are predicted or actual (m,)."""
    classes = np.union1d(predicted, actual)
    is_predicted = (predicted[:, None] == classes).astype(np.float32)
    is_actual = (actual[:, None] == classes).astype(np.float32)

    def statistic(weights: Weights) -> FloatArray:
        hits = weights @ (is_predicted * is_actual)
        either = weights @ is_predicted + weights @ is_actual
        f1 = np.where(either > 0, 2 * hits / np.maximum(either, 1e-9), np.nan)
        there = either > 0
        return _ratio(np.where(there, f1, 0.0).sum(axis=1), there.sum(axis=1))

    return statistic


def calibration_error_of(probability: FloatArray, positive: BoolArray, bins: int = CALIBRATION_BINS) -> Statistic:
    """Expected calibration error: |observed share - mean probability| over equal bins of the probability, weighted by
    the requests in each (Guo et al., 2017, with the probability of the positive class).
    """
    number = np.minimum((probability * bins).astype(np.int64), bins - 1)
    inside = (number[:, None] == np.arange(bins)).astype(np.float32)
    gap = inside * (positive.astype(np.float32) - probability.astype(np.float32))[:, None]
    return lambda weights: _ratio(np.abs(weights @ gap).sum(axis=1), weights.sum(axis=1))


def _ratio(numerator: NDArray[np.floating], denominator: NDArray[np.generic]) -> FloatArray:
    """Element-wise quotient (b,), NaN where the denominator is 0."""
    bottom = denominator.astype(np.float64)
    ratio: FloatArray = np.where(bottom > 0, numerator / np.where(bottom > 0, bottom, 1.0), np.nan)
    return ratio
