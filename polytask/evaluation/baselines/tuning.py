"""Which baselines a task has, and their best settings on validation."""

from dataclasses import dataclass

import numpy as np

from polytask.data.dataset import Dataset
from polytask.evaluation.baselines import item_lists, simple, texts
from polytask.evaluation.baselines.candidate import Baseline, Candidate, Settings
from polytask.evaluation.measures import is_better, primary_metric, task_statistics
from polytask.evaluation.requests import Requests
from polytask.metrics.weighted import value_of
from polytask.scenario.names import USERS
from polytask.scenario.schema import Task

# Below this many training events a user, a mean per user is no more than the overall mean.
EVENTS_PER_USER = 2


@dataclass(frozen=True)
class Tuned:
    """The best candidate of a baseline, the value of `metric` that it was chosen by, and how many were tried."""

    candidate: Candidate
    metric: str
    validation: float
    tried: int

    @property
    def settings(self) -> Settings:
        """The chosen settings."""
        return self.candidate.settings


def baselines_of(dataset: Dataset, task: Task) -> dict[str, Baseline]:
    """The baselines of a task, by name."""
    if task.kind == "retrieval" and task.label.source == "peers":
        return {"most_active": simple.most_active, "user_knn": item_lists.user_knn}
    if task.kind == "retrieval":
        found: dict[str, Baseline] = {"popularity": simple.popularity, "markov": item_lists.markov}
        if item_lists.is_dense_enough(dataset):
            found |= {"item_knn": item_lists.item_knn, "ease": item_lists.ease}
        return {**found, "ials": item_lists.ials}
    if task.kind == "multilabel":
        found = {"popularity": simple.class_popularity}
        if dataset.labels[task.name].by_item is not None:
            found["user_histogram"] = simple.user_histogram
        return found
    regression = task.kind == "regression"
    found = {"mean": simple.mean} if regression else {"majority": simple.majority}
    if task.kind != "multiclass" and dataset.train.sum() >= EVENTS_PER_USER * len(dataset.catalogues[USERS]):
        found["user_mean"] = simple.user_mean
    return found | ({"tfidf_ridge": texts.tfidf_ridge} if regression else {"tfidf_logistic": texts.tfidf_logistic})


def tuned_baselines(dataset: Dataset, validation: Requests) -> dict[str, dict[str, Tuned]]:
    """Every task's baselines, with the settings that are best by the task's first metric on the validation requests."""
    return {
        task.name: {
            name: tuned
            for name, baseline in baselines_of(dataset, task).items()
            if (tuned := _tuned(baseline, dataset, task, validation)) is not None
        }
        for task in dataset.scenario.tasks
        if (dataset.train & dataset.labels[task.name].mask).any()
    }


def _tuned(baseline: Baseline, dataset: Dataset, task: Task, validation: Requests) -> Tuned | None:
    """None where the baseline has nothing to learn from, such as a single class."""
    metric = primary_metric(task)
    best: Tuned | None = None
    for tried, candidate in enumerate(baseline(dataset, task), start=1):
        statistics = task_statistics(validation, task, candidate.score(validation))
        value = value_of(statistics[metric], len(validation)) if statistics else float(np.nan)
        if best is None or is_better(metric, value, best.validation):
            best = Tuned(candidate, metric, value, tried)
        else:
            best = Tuned(best.candidate, metric, best.validation, tried)
    return best
