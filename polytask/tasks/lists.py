"""Metrics of ranked lists, which the kinds with a catalogue share."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from polytask.data.catalogue import PADDING_ROW
from polytask.data.evaluation_requests import Requests
from polytask.metrics import ranking
from polytask.metrics.weighted import Statistic, coverage_of, mean_of
from polytask.scenario.names import USERS
from polytask.scenario.schema import Task
from polytask.tasks.metrics import OF_PLACES, KindMetrics, Scores

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

LIST_LENGTH = 10


class ListMetrics(KindMetrics):
    """What all ranked lists have in common."""

    units: ClassVar[Mapping[str, str]] = {
        "coverage": "share of the catalogue",
        "novelty": "bits",
        "popularity_share": OF_PLACES,
    }

    def agreement(self, requests: Requests, task: Task, one: Scores, other: Scores) -> float:
        """Return the mean share of the first ten that both have."""
        return overlap(*(listed_rows(requests, task, scores, LIST_LENGTH) for scores in (one, other)))


def overlap(first: IntArray, second: IntArray) -> float:
    """Return the mean share of lists (m, k) that is in both; 0 is padding; 1 where there is no list."""
    both = ((first[:, :, None] == second[:, None, :]) & (first[:, :, None] > 0)).sum(axis=(1, 2))
    listed = (first > 0).sum(axis=1)
    return float((both[listed > 0] / listed[listed > 0]).mean()) if listed.any() else 1.0


def listed_rows(requests: Requests, task: Task, scores: Scores, k: int = LIST_LENGTH) -> IntArray:
    """The list (m, k) of each request, best first, 0 where nothing is left to list."""
    return listed(allowed_scores(requests, task, scores, np.ones(len(requests), dtype=np.bool_)), k)


def allowed_scores(requests: Requests, task: Task, scores: Scores, chosen: BoolArray) -> Scores:
    """Scores of the chosen requests with -inf on what may not be listed: padding, seen items, the user itself."""
    allowed = scores.copy()
    allowed[:, PADDING_ROW] = -np.inf
    if task.catalogue == USERS:
        allowed[np.arange(len(allowed)), requests.user_rows[chosen]] = -np.inf
    else:
        # Padding fills `seen` up with row 0, which is masked anyway.
        np.put_along_axis(allowed, requests.seen[chosen], -np.inf, axis=1)
    return allowed


def listed(allowed: Scores, k: int = LIST_LENGTH) -> IntArray:
    """The best k rows (m, k) of `allowed_scores`, 0 where nothing is left."""
    top = ranking.top_rows(allowed, k)
    rows: IntArray = np.where(np.isfinite(np.take_along_axis(allowed, top, axis=1)), top, PADDING_ROW)
    return rows


def list_statistics(allowed: Scores, training_rows: IntArray) -> dict[str, Statistic]:
    """Coverage, novelty and popularity of the lists of `allowed_scores`, given the rows of the training events."""
    rows, counts = listed(allowed), np.bincount(training_rows, minlength=allowed.shape[1])
    counts[PADDING_ROW] = 0
    return {
        "coverage": coverage_of(rows, len(counts) - 1),
        "novelty": mean_of(ranking.novelty(rows, counts)),
        "popularity_share": mean_of(ranking.popularity_share(rows, counts)),
    }
