"""Ranking metrics. m requests, N + 1 catalogue rows or C classes; every function returns one value per request (m,).

A better score ranks first; equal scores rank in the order of their rows, so that a metric never depends on chance.
"""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def ranks_of(scores: Scores, target: IntArray) -> IntArray:
    """The rank (m,), from 1, of the target row of each request among all rows of scores (m, N + 1)."""
    own = np.take_along_axis(scores, target[:, None], axis=1)
    rows = np.arange(scores.shape[1])
    earlier_tie = (scores == own) & (rows[None, :] < target[:, None])
    better: IntArray = (scores > own).sum(axis=1) + earlier_tie.sum(axis=1)
    return better + 1


def top_rows(scores: Scores, k: int) -> IntArray:
    """The best k rows (m, k) of scores (m, N + 1), best first."""
    best: IntArray = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return best


def hit_rate(ranks: IntArray, k: int) -> FloatArray:
    """HR@k for one relevant row a request: 1 where it ranks within k."""
    return (ranks <= k).astype(np.float64)


def ndcg_of_rank(ranks: IntArray, k: int) -> FloatArray:
    """NDCG@k for one relevant row a request: 1 / log2(rank + 1) within k, else 0 (Jarvelin and Kekalainen, 2002)."""
    gains: FloatArray = np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)
    return gains


def reciprocal_rank(ranks: IntArray) -> FloatArray:
    """1 / rank of the one relevant row."""
    return 1.0 / ranks


def precision(top: IntArray, positives: BoolArray) -> FloatArray:
    """Share of the listed rows (m, k) that are positives (m, N + 1)."""
    share: FloatArray = np.take_along_axis(positives, top, axis=1).mean(axis=1)
    return share


def excess_precision(top: IntArray, positives: BoolArray) -> FloatArray:
    """Precision minus the base rate of each listed row: how often it is a positive over all requests.

    A list that is the same for everybody scores 0 on average, however popular its rows are.
    """
    base_rate = positives.mean(axis=0)
    excess: FloatArray = precision(top, positives) - base_rate[top].mean(axis=1)
    return excess


def coverage(top: IntArray, rows: int) -> float:
    """Share of a catalogue's rows (padding not counted) that stand in at least one list; `top` of any shape."""
    return len(np.unique(top)) / rows


def ndcg_of_classes(scores: Scores, relevant: BoolArray, k: int) -> FloatArray:
    """NDCG@k for several relevant classes: scores and relevant (m, C), at least one relevant a request."""
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    hits = np.take_along_axis(relevant, top_rows(scores, k), axis=1)
    ideal = np.minimum(relevant.sum(axis=1), k)
    best = np.cumsum(discounts)[ideal - 1]
    gains: FloatArray = (hits * discounts[: hits.shape[1]]).sum(axis=1) / best
    return gains


def first_is_relevant(scores: Scores, relevant: BoolArray) -> FloatArray:
    """HR@1 for classes: 1 where the best class is relevant."""
    return np.take_along_axis(relevant, top_rows(scores, 1), axis=1)[:, 0].astype(np.float64)
