"""Baselines without learning: each scores the same requests over the same rows as the model.

All of them read training events only (the history of a request is known to every method alike).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from polytask.catalogue import PADDING_ROW
from polytask.dataset import Dataset
from polytask.scenario.schema import Task
from polytask.tables import USERS

Scores = NDArray[np.float32]
IntArray = NDArray[np.int64]

# Weight of a transition from the item `lag` steps back: LAG_DECAY ** (lag - 1).
LAG_DECAY = 0.8
LAGS = 10


def baselines_of(task: Task) -> dict[str, Callable[[Dataset, Task, IntArray, IntArray], Scores]]:
    """The baselines of a task, by name: (dataset, task, events (m,), history (m, L)) -> scores (m, N + 1) or (m, C)."""
    if task.kind == "retrieval" and task.label.source == "peers":
        return {"most_active": _most_active}
    if task.kind == "retrieval":
        return {"popularity": _popularity, "markov": _markov}
    if task.kind == "multilabel":
        return {"popularity": _class_popularity, "user_histogram": _user_histogram}
    return {}


def _popularity(dataset: Dataset, task: Task, events: IntArray, history: IntArray) -> Scores:
    """Training events per item, the same (m, N + 1) for everybody."""
    counts = np.bincount(dataset.item_rows[dataset.train], minlength=len(dataset.catalogues["items"]) + 1)
    counts[PADDING_ROW] = 0
    return np.tile(counts.astype(np.float32), (len(events), 1))


def _markov(dataset: Dataset, task: Task, events: IntArray, history: IntArray) -> Scores:
    """Decayed item-to-item transitions: sum over lags of decay^(lag - 1) * P(item | item `lag` steps back)."""
    rows = len(dataset.catalogues["items"]) + 1
    indices = np.flatnonzero(dataset.train)
    items, users = dataset.item_rows[indices], dataset.user_rows[indices]
    scores = np.zeros((len(events), rows), dtype=np.float32)
    counts = np.zeros((rows, rows), dtype=np.float32)
    for lag in range(1, LAGS + 1):
        same = users[lag:] == users[:-lag]
        np.add.at(counts, (items[:-lag][same], items[lag:][same]), LAG_DECAY ** (lag - 1))
    transitions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    for lag in range(1, min(LAGS, history.shape[1]) + 1):
        scores += LAG_DECAY ** (lag - 1) * transitions[history[:, -lag]]
    # Popularity, far below any transition, orders what was never seen to follow.
    scores += np.float32(1e-6 / len(indices)) * _popularity(dataset, task, events, history)
    return scores


def _most_active(dataset: Dataset, task: Task, events: IntArray, history: IntArray) -> Scores:
    """Training events that satisfy the label's condition, per user: (m, U + 1), the same for everybody."""
    where = dataset.train.copy()
    if task.label.where is not None:
        condition = task.label.where
        where &= (dataset.events[condition.column] >= condition.at_least).to_numpy()
    counts = np.bincount(dataset.user_rows[where], minlength=len(dataset.catalogues[USERS]) + 1)
    return np.tile(counts.astype(np.float32), (len(events), 1))


def _class_popularity(dataset: Dataset, task: Task, events: IntArray, history: IntArray) -> Scores:
    """Share of training events per class, (m, C)."""
    labels = dataset.labels[task.name]
    train = np.flatnonzero(dataset.train & labels.mask)
    share = labels.of(train, dataset.item_rows).mean(axis=0).astype(np.float32)
    return np.tile(share, (len(events), 1))


def _user_histogram(dataset: Dataset, task: Task, events: IntArray, history: IntArray) -> Scores:
    """Share of each class in the history of the request, (m, C); overall popularity breaks ties."""
    by_item = dataset.labels[task.name].by_item
    if by_item is None:
        return _class_popularity(dataset, task, events, history)
    real = (history != PADDING_ROW).sum(axis=1, keepdims=True)
    share: Scores = (by_item[history].sum(axis=1) / np.maximum(real, 1)).astype(np.float32)
    return share + np.float32(1e-3) * _class_popularity(dataset, task, events, history)
