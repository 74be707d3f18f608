"""Whether a typed query steers the list: the share of listed items that have the requested values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests, split_requests
from polytask.data.request import RequestFeatures
from polytask.evaluation.evaluate import scores_with
from polytask.evaluation.measures import LIST_LENGTH, listed_rows
from polytask.evaluation.served import NO_ROWS, served_scores
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import QueryCheck, Task
from polytask.tasks.kind import kind_of

Encode = Callable[[list[str]], NDArray[np.float32]]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

USERS = 30
# The share of the list that should have the requested values.
WANTED = 0.8


@dataclass(frozen=True)
class QueryRequests:
    """The model under test, the data set whose text vectors it reads, and the encoder of further texts.

    `new_rows` (n,) are item rows that were added after training, see `served_scores`.
    """

    model: MultiTaskModel
    dataset: Dataset
    encode: Encode
    new_rows: IntArray = field(default_factory=lambda: NO_ROWS)


def query_report(requested: Sequence[QueryRequests]) -> list[dict[str, Any]]:
    """One entry per query of `evaluation.queries`: shares of the top 10 that fit, over 30 users of the test split.

    `share` is the mean over users and models, `seeds` that of each model, `without_query` the share when the same users
    do not type anything, `catalogue` the share of all items that fit. `overlap` is the mean Jaccard overlap between the
    lists of two users: 1 where everybody gets the same list.
    """
    dataset = requested[0].dataset
    task = next((task for task in dataset.scenario.tasks if kind_of(task).follows_items), None)
    checks = dataset.scenario.evaluation.queries
    if task is None or not checks:
        return []
    requests = _some(split_requests(dataset, "test"))
    numbers = dataset.texts[requests.events]
    without = [_lists(one, task, requests, one.dataset.text_vectors[numbers]) for one in requested]
    report: list[dict[str, Any]] = []
    for check in checks:
        fits = fitting_items(dataset, check)
        texts = query_texts(dataset, requests, check.query)
        lists = [_lists(one, task, requests, one.encode(texts)) for one in requested]
        shares = [float(fits[rows].mean()) for rows in lists]
        report.append(
            {
                "query": check.query,
                "column": check.column,
                "values": list(check.values),
                "share": float(np.mean(shares)),
                "seeds": shares,
                "holds": bool(np.mean(shares) >= WANTED),
                "without_query": float(np.mean([fits[rows].mean() for rows in without])),
                "catalogue": float(fits[1:].mean()),
                "overlap": float(np.mean([_overlap(rows) for rows in lists])),
                "users": len(requests),
            }
        )
    return report


def query_texts(dataset: Dataset, requests: Requests, query: str) -> list[str]:
    """What the language model reads of each request when its user types `query` at that moment, as in serving."""
    encoder = dataset.request_encoder()
    return [
        encoder.text(RequestFeatures(profile=request.profile, context=request.context, query=query))
        for request in dataset.requests(requests.events)
    ]


def fitting_items(dataset: Dataset, check: QueryCheck) -> BoolArray:
    """Which item rows (N + 1,) have one of the query's values in its column."""
    wanted = set(check.values)
    fits = np.zeros(len(dataset.catalogues["items"]) + 1, dtype=np.bool_)
    for row, value in enumerate(dataset.catalogues["items"].table[check.column], start=1):
        values = [value] if isinstance(value, str) else value
        fits[row] = isinstance(values, (list, tuple, np.ndarray)) and not wanted.isdisjoint(values)
    return fits


def _some(requests: Requests) -> Requests:
    """30 requests spread evenly over all of them, which are in the order of the users."""
    chosen = np.unique(np.linspace(0, len(requests) - 1, USERS).astype(np.int64))
    return requests.at(chosen)


def _lists(requested: QueryRequests, task: Task, requests: Requests, texts: NDArray[np.float32]) -> IntArray:
    scores = scores_with(requested.model, requests.history, texts)
    listed = served_scores(scores, [task], requests.seen, requested.new_rows)[task.name]
    return listed_rows(requests, task, listed, LIST_LENGTH)


def _overlap(lists: IntArray) -> float:
    sets = [set(rows.tolist()) for rows in lists]
    pairs = [len(one & other) / len(one | other) for one, other in combinations(sets, 2)]
    return float(np.mean(pairs)) if pairs else 1.0
