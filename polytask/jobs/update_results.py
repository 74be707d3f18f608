"""What the jobs that update a model return, and how they measure it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.contract.contract import Contract
from polytask.data.catalogue import Catalogue
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import split_requests
from polytask.data.request import RequestFeatures
from polytask.data.splits import Split
from polytask.evaluation.evaluate import TaskMetrics, request_scores, task_metrics
from polytask.jobs.inputs import Log
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Scenario, Task
from polytask.training.loop import Epoch

Metrics = dict[str, dict[str, TaskMetrics]]

REQUESTS = 16
HISTORY = 20


@dataclass(frozen=True)
class AddedTask:
    """The next version; the new task's metrics per split, outputs found equal in every bit, the old weights' sum."""

    contract: Contract
    metrics: dict[str, TaskMetrics]
    same_outputs: list[str]
    weights_sha256: str


@dataclass(frozen=True)
class FineTuned:
    """The next version; metrics per split and task of the last version and of this one; rows that were appended."""

    contract: Contract
    before: Metrics
    after: Metrics
    new_rows: dict[str, int]


@dataclass(frozen=True)
class RefreshedItems:
    """The next version; how many items are new, have another text, are missing in the table; outputs found equal."""

    contract: Contract
    new: int
    changed: list[object]
    missing: int
    same_outputs: list[str]


def metrics_of(
    model: MultiTaskModel, dataset: Dataset, tasks: tuple[Task, ...], new_rows: NDArray[np.int64]
) -> Metrics:
    """Metrics per split and task of an updated model; `new_rows` are the item rows that no training event has."""
    found: Metrics = {}
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        requests = split_requests(dataset, split)
        scores = request_scores(model, requests, new_rows)
        found[split] = {task.name: task_metrics(requests, task, scores[task.name]) for task in tasks}
    return found


def requests_on(scenario: Scenario, items: Catalogue) -> list[RequestFeatures]:
    """Requests with histories over all of a catalogue, its newest rows among them, and one without any."""
    random = np.random.default_rng(scenario.training.seed)
    rows = random.integers(1, len(items) + 1, (REQUESTS, HISTORY))
    rows[:, -1] = len(items) - np.arange(REQUESTS) % len(items)
    histories = [[items.external(int(row)) for row in history] for history in rows]
    return [RequestFeatures(), *(RequestFeatures(history=history, seen=history) for history in histories)]


def line_printer(log: Log) -> Callable[[Epoch], None]:
    """Return a function that logs each epoch's losses and time."""
    return lambda epoch: log(f"epoch {epoch.number}: loss {words_of(epoch.losses)} ({epoch.seconds:.1f} s)")


def words_of(values: TaskMetrics) -> str:
    """The values by name, in one line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())
