"""Several methods over several seeds on the same requests: values, intervals, paired differences, slices.

A method is a function from requests to scores per task; model, baselines and variants of the model are measured alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.evaluation.evaluate import model_scores
from polytask.evaluation.measures import DESCRIPTIVE, lower_is_better, task_statistics
from polytask.evaluation.served import NO_ROWS, served_scores
from polytask.evaluation.slices import slices_of
from polytask.evaluation.tuning import Tuned
from polytask.metrics.bootstrap import RESAMPLES, Sampled, average, sampled
from polytask.metrics.weighted import FloatArray, Statistic, Weights
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Task

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]
Method = Callable[[Requests], Mapping[str, Scores]]

MODEL = "polytask"
PREVIOUS = "previous"
WHOLE = ""
# Of a slice's lists only how good they are is of interest.
NOT_IN_SLICES = DESCRIPTIVE | {"coverage"}
# Shares that are no means: the interval of the bootstrap, moved to the value, may run out of 0 to 1.
SHARES = frozenset({"coverage", "ece", "auc", "macro_f1"})


class Key(NamedTuple):
    """What a number is about. `run` counts the seeds of a method from 0."""

    slice: str
    task: str
    method: str
    run: int
    metric: str


@dataclass(frozen=True)
class Study:
    """The samples of every metric, on one split."""

    requests: int
    samples: Mapping[Key, Sampled]
    slices: Mapping[str, tuple[str, int]]
    runs: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def metrics(self, method: str, task: str, slice_: str = WHOLE) -> dict[str, dict[str, Any]]:
        """Metric -> mean over the runs, value of each, interval of the mean; empty where nothing was measured."""
        return {
            name: {
                "mean": _number(mean.value),
                "seeds": [_number(run.value) for run in runs],
                "interval": [_number(min(max(b, 0.0), 1.0) if name in SHARES else b) for b in mean.interval()],
            }
            for name, runs in self._runs(method, task, slice_).items()
            for mean in [average(runs)]
        }

    def differences(self, method: str, other: str, task: str, slice_: str = WHOLE) -> dict[str, dict[str, Any]]:
        """Metric -> `method` minus `other`: mean, interval, and whether that is better, worse or level (0 inside)."""
        ours, theirs = self._runs(method, task, slice_), self._runs(other, task, slice_)
        found: dict[str, dict[str, Any]] = {}
        for name in ours:
            if name in theirs and name not in DESCRIPTIVE:
                difference = average(ours[name]) - average(theirs[name])
                low, high = difference.interval()
                found[name] = {
                    "mean": _number(difference.value),
                    "interval": [_number(low), _number(high)],
                    "verdict": _verdict(name, low, high),
                }
        return found

    def methods(self, task: str) -> list[str]:
        """The methods that scored a task, in the order they were given."""
        return [method for found, method in self.runs if found == task]

    def answers(self, method: str, task: str) -> bool:
        """Whether a method scored a task."""
        return (task, method) in self.runs

    def _runs(self, method: str, task: str, slice_: str) -> dict[str, list[Sampled]]:
        found: dict[str, list[Sampled]] = {}
        for run in range(self.runs.get((task, method), 0)):
            for key, sample in self.samples.items():
                if key[:4] == (slice_, task, method, run):
                    found.setdefault(key.metric, []).append(sample)
        return found


def study(
    requests: Requests, tasks: Sequence[Task], methods: Mapping[str, Sequence[Method]], resamples: int = RESAMPLES
) -> Study:
    """Measure all methods on the same requests and resamples. A method leaves out the tasks it cannot score."""
    slices = slices_of(requests)
    statistics: dict[Key, Statistic] = {}
    runs: dict[tuple[str, str], int] = {}
    for method, answers in methods.items():
        for run, answer in enumerate(answers):
            scores = answer(requests)
            for task in tasks:
                if task.name not in scores:
                    continue
                runs[task.name, method] = run + 1
                for metric, statistic in task_statistics(requests, task, scores[task.name]).items():
                    statistics[Key(WHOLE, task.name, method, run, metric)] = statistic
                    if metric not in NOT_IN_SLICES:
                        for name, part in slices.items():
                            key = Key(name, task.name, method, run, metric)
                            statistics[key] = _within(statistic, part.chosen)
    return Study(
        len(requests),
        sampled(statistics, len(requests), resamples),
        {name: (part.meaning, int(part.chosen.sum())) for name, part in slices.items()},
        runs,
    )


def model_method(model: MultiTaskModel, dataset: Dataset | None = None, new_rows: Rows = NO_ROWS) -> Method:
    """A model as a method. `dataset` has the text vectors it was trained on where they are not the requests' own.

    `new_rows` (n,) are item rows that joined after training, see `served_scores`.
    """

    def answer(requests: Requests) -> Mapping[str, Scores]:
        scores = model_scores(model, dataset or requests.dataset, requests.events, requests.history)
        return served_scores(scores, requests.dataset.scenario.tasks, requests.seen, new_rows)

    return answer


def merged(methods: Sequence[Method]) -> Method:
    """Combine methods that score different tasks into one."""
    return lambda requests: {task: scores for method in methods for task, scores in method(requests).items()}


def baseline_methods(tuned: Mapping[str, Mapping[str, Tuned]]) -> dict[str, Method]:
    """The tuned baselines as methods by name. A name may serve several tasks."""
    names = dict.fromkeys(name for found in tuned.values() for name in found)

    def method(name: str) -> Method:
        return lambda requests: {
            task: found[name].candidate.score(requests) for task, found in tuned.items() if name in found
        }

    return {name: method(name) for name in names}


def _within(statistic: Statistic, chosen: NDArray[np.bool_]) -> Statistic:
    kept = chosen.astype(np.float32)

    def of(weights: Weights) -> FloatArray:
        return statistic(weights * kept)

    return of


def _verdict(metric: str, low: float, high: float) -> str:
    if not low > 0 and not high < 0:
        return "level"
    return "better" if (high < 0) == (metric in lower_is_better()) else "worse"


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if np.isnan(value) else float(value)
