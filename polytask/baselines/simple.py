"""Baselines that count: what is frequent, for everybody or for one user."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from polytask.baselines.candidate import Candidate, Scores
from polytask.data.catalogue import PADDING_ROW
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.scenario.names import ITEMS, USERS
from polytask.scenario.schema import Task

FloatArray = NDArray[np.float64]

# Below this many training events a user, a mean per user is no more than the overall mean.
EVENTS_PER_USER = 2
PRIOR_EVENTS = (1.0, 5.0, 20.0, 50.0)
WINDOWS = (10, 50)


def popularity(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """Training events per item, the same (m, N + 1) for everybody."""
    counts = item_counts(dataset)
    yield Candidate({}, partial(_same_for_all, counts))


def item_counts(dataset: Dataset) -> NDArray[np.float32]:
    """Training events per item row, (N + 1,)."""
    counts = np.bincount(dataset.item_rows[dataset.train], minlength=len(dataset.catalogues[ITEMS]) + 1)
    counts[PADDING_ROW] = 0
    return counts.astype(np.float32)


def most_active(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """Training events that satisfy the label's condition, per user: (m, U + 1), the same for everybody."""
    where = dataset.train.copy()
    if task.label.where is not None:
        condition = task.label.where
        where &= (dataset.events[condition.column] >= condition.at_least).to_numpy()
    counts = np.bincount(dataset.user_rows[where], minlength=len(dataset.catalogues[USERS]) + 1).astype(np.float32)
    yield Candidate({}, partial(_same_for_all, counts))


def class_popularity(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """Share of training events per class of a multilabel task, (m, C)."""
    share = _class_shares(dataset, task)
    yield Candidate({}, partial(_same_for_all, share))


def user_histogram(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """Share of each class among a user's last items, drawn towards the overall share by some events' worth of it.

    Tuned: how many items back, how many events the overall share counts for.
    """
    by_item = dataset.labels[task.name].by_item
    assert by_item is not None, "only for labels that are looked up by the item"
    overall = _class_shares(dataset, task)

    def candidate(window: int, prior: float) -> Candidate:
        def score(requests: Requests) -> Scores:
            history = requests.history[:, -window:]
            events = (history != PADDING_ROW).sum(axis=1, keepdims=True)
            share: Scores = ((by_item[history].sum(axis=1) + prior * overall) / (events + prior)).astype(np.float32)
            return share

        return Candidate({"window": window, "prior_events": prior}, score)

    yield from (candidate(window, prior) for window in WINDOWS for prior in PRIOR_EVENTS)


def majority(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """The classes' shares in training as log-probabilities (m, C); binary: the base rate as a logit (m, 1)."""
    values = _training_values(dataset, task)
    if task.classes is None:
        row = np.array([_logit(values.mean())], dtype=np.float32)
    else:
        counts = np.bincount(values.astype(np.int64), minlength=len(task.classes or ())) + 1
        row = np.log(counts / counts.sum()).astype(np.float32)
    yield Candidate({}, partial(_same_for_all, row))


def mean(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """The mean of the training labels, (m, 1); tuned for the absolute error: the mean or the median."""
    values = _training_values(dataset, task)
    for name, constant in (("mean", values.mean()), ("median", np.median(values))):
        yield Candidate({"constant": name}, partial(_same_for_all, np.array([constant], dtype=np.float32)))


def user_mean(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """Mean label of the user's training events, drawn towards the overall mean by some events' worth of it, (m, 1).

    Tuned: how many events the overall mean counts for.
    """
    yield from _user_means(dataset, task, lambda means: means)


def user_rate(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """`user_mean` of a binary task, as a logit."""
    yield from _user_means(dataset, task, _logit)


def has_user_means(dataset: Dataset) -> bool:
    """Whether users have so many training events that a mean per user is more than the overall mean."""
    return bool(dataset.train.sum() >= EVENTS_PER_USER * len(dataset.catalogues[USERS]))


def _user_means(dataset: Dataset, task: Task, convert: Callable[[FloatArray], FloatArray]) -> Iterator[Candidate]:
    chosen = dataset.train & dataset.labels[task.name].mask
    values, users = _training_values(dataset, task), dataset.user_rows[chosen]
    size = len(dataset.catalogues[USERS]) + 1
    sums, counts = np.bincount(users, values, minlength=size), np.bincount(users, minlength=size)
    sums[PADDING_ROW], counts[PADDING_ROW] = 0, 0

    def candidate(prior: float) -> Candidate:
        shrunk = (sums + prior * values.mean()) / (counts + prior)
        scores = convert(shrunk).astype(np.float32)[:, None]
        return Candidate({"prior_events": prior}, lambda requests: scores[requests.user_rows])

    yield from (candidate(prior) for prior in PRIOR_EVENTS)


def _same_for_all(row: NDArray[np.float32], requests: Requests) -> Scores:
    """One row of scores for each of the requests."""
    return np.tile(row, (len(requests), 1))


def _class_shares(dataset: Dataset, task: Task) -> NDArray[np.float32]:
    labels = dataset.labels[task.name]
    share = labels.of(np.flatnonzero(dataset.train & labels.mask), dataset.item_rows).mean(axis=0)
    return np.asarray(share, dtype=np.float32)


def _training_values(dataset: Dataset, task: Task) -> NDArray[np.float64]:
    labels = dataset.labels[task.name]
    return labels.of(np.flatnonzero(dataset.train & labels.mask), dataset.item_rows).astype(np.float64)


def _logit(probability: NDArray[np.float64] | float) -> NDArray[np.float64]:
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    logit: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return logit
