"""How often each user follows each task's suggestions, learned from events: the source of `priorities.parquet`."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import requests_before
from polytask.data.priorities import Priorities
from polytask.evaluation.evaluate import model_scores
from polytask.evaluation.measures import task_statistics
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.names import USERS
from polytask.scenario.schema import Task
from polytask.tasks.metrics import metrics_of

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

# The newest training events of each user that are looked at.
RECENT_EVENTS = 10
BATCH = 256


def learn_priorities(model: MultiTaskModel, dataset: Dataset) -> Priorities:
    """The follow rate of every user, and of every task whose kind has a follow metric.

    Training events show how users differ (few users have more than one event that the model has not trained on), while
    validation events, none of which the model has seen, show the mean rate of following. The rate of a user is
    (sum + c * mean) / (n + c) over its n newest training events, the credibility estimate of Buehlmann (1967) with
    c = variance within users / variance between users, times (mean over validation) / (mean over training).
    """
    tasks = [task for task in dataset.scenario.tasks if metrics_of(task).follow is not None]
    train = _newest(dataset, np.flatnonzero(dataset.train))
    validation = np.flatnonzero(dataset.split == "validation")
    in_training, unseen = (followed(model, dataset, tasks, events) for events in (train, validation))
    users = dataset.catalogues[USERS]
    rates = {
        task.name: _rates(in_training[task.name], dataset.user_rows[train], unseen[task.name], len(users))
        for task in tasks
    }
    return Priorities(users, pd.DataFrame(rates))


def followed(model: MultiTaskModel, dataset: Dataset, tasks: list[Task], events: IntArray) -> dict[str, FloatArray]:
    """Per task how far the user followed it at each of `events` (m,): from 0 to 1, NaN where the event has no label.

    A list of items: the item was in the first ten; of users: the share of the first ten who had liked the item;
    classes and binary tasks: the first prediction was right.
    """
    parts: dict[str, list[FloatArray]] = {task.name: [] for task in tasks}
    for start in range(0, len(events), BATCH):
        requests = requests_before(dataset, events[start : start + BATCH])
        scores = model_scores(model, dataset, requests.events, requests.history)
        one_by_one = np.eye(len(requests), dtype=np.float32)
        for task in tasks:
            statistics = task_statistics(requests, task, scores[task.name])
            nothing = np.full(len(requests), np.nan)
            metric = metrics_of(task).follow
            parts[task.name].append(statistics[metric](one_by_one) if statistics and metric else nothing)
    return {name: np.concatenate([np.zeros(0), *values]) for name, values in parts.items()}


def _newest(dataset: Dataset, events: IntArray) -> IntArray:
    """Those of some events, ordered by user and time, that are among the newest of their user."""
    users = pd.factorize(dataset.user_rows[events])[0]
    after = np.searchsorted(users, users, side="right") - np.arange(len(events)) - 1
    chosen: IntArray = events[after < RECENT_EVENTS]
    return chosen


def _rates(values: FloatArray, users: IntArray, unseen: FloatArray, count: int) -> FloatArray:
    """Values (m,) of the events of user rows (m,), and those of unseen events -> rates (count + 1,), row 0 the mean."""
    labelled = ~np.isnan(values)
    values, users = values[labelled], users[labelled]
    mean = float(values.mean()) if len(values) else 0.0
    level = float(np.nanmean(unseen)) if not np.isnan(unseen).all() else mean
    n = np.bincount(users, minlength=count + 1)
    sums: FloatArray = np.bincount(users, values, minlength=count + 1).astype(np.float64)
    credibility = _credibility(values, users, n, sums, mean)
    shrunk = (sums + credibility * mean) / (n + credibility) if np.isfinite(credibility) else np.full(count + 1, mean)
    shrunk[0] = mean
    rates: FloatArray = np.clip(shrunk * level / mean if mean > 0 else np.full(count + 1, level), 0.0, 1.0)
    return rates


def _credibility(values: FloatArray, users: IntArray, n: IntArray, sums: FloatArray, mean: float) -> float:
    """Buehlmann's c: variance within users over variance between them; infinite where users do not seem to differ."""
    several = n >= 2
    if several.sum() < 2:
        return float("inf")
    means = sums / np.maximum(n, 1)
    counted = several[users]
    within = float(((values - means[users]) ** 2)[counted].sum() / (n[several] - 1).sum())
    spread = float(np.average((means[several] - mean) ** 2, weights=n[several]))
    between = spread - within * several.sum() / n[several].sum()
    # Without variance within users one event is sufficient; a minimum of it keeps users without events at the mean.
    return max(within, 1e-6) / between if between > 0 else float("inf")
