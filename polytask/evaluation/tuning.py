"""Which baselines a task has, and their best settings on validation."""

from dataclasses import dataclass

import numpy as np

from polytask.baselines.candidate import Baseline, Candidate, Settings
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.evaluation.measures import is_better, primary_metric, task_statistics
from polytask.metrics.weighted import value_of
from polytask.scenario.schema import Task
from polytask.tasks.metrics import metrics_of


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
    return metrics_of(task).baselines(dataset, task)


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
