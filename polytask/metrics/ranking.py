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


def reciprocal_rank(ranks: IntArray, k: int | None = None) -> FloatArray:
    """1 / rank of the one relevant row; with `k` 0 where it ranks after k."""
    reciprocal: FloatArray = 1.0 / ranks
    return reciprocal if k is None else np.where(ranks <= k, reciprocal, 0.0)


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


def novelty(listed: IntArray, counts: IntArray) -> FloatArray:
    """Mean self-information -log2 p of the listed rows (m, k), in bits; 0 in a list means no row (Zhou et al., 2010).

    p is a row's share of the training events, with one added to each of `counts` (N + 1,), so that a row without an
    event has a finite value.
    """
    rows = counts[1:] + 1
    information = np.concatenate([[0.0], -np.log2(rows / rows.sum())])
    real = listed > 0
    mean: FloatArray = (information[listed] * real).sum(axis=1) / np.maximum(real.sum(axis=1), 1)
    return mean


def popularity_share(listed: IntArray, counts: IntArray, top: float = 0.1) -> FloatArray:
    """Share of the places of a list (m, k) that the most frequent rows take: the first tenth of the catalogue."""
    popular = np.zeros(len(counts), dtype=np.bool_)
    wanted = max(1, round(top * (len(counts) - 1)))
    popular[1 + np.argsort(-counts[1:], kind="stable")[:wanted]] = True
    real = listed > 0
    share: FloatArray = (popular[listed] & real).sum(axis=1) / np.maximum(real.sum(axis=1), 1)
    return share


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
