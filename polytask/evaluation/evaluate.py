"""Full-ranking evaluation of a model and of every baseline on the requests of one split."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests, split_requests
from polytask.data.splits import Split
from polytask.evaluation.measures import classification_of, task_statistics
from polytask.evaluation.served import NO_ROWS, served_scores
from polytask.evaluation.tuning import Tuned, tuned_baselines
from polytask.metrics.classification import Classification
from polytask.metrics.weighted import value_of
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Task

Scores = NDArray[np.float32]
IntArray = NDArray[np.int64]
TaskMetrics = dict[str, float]

BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """Metrics per task, and per task and baseline, over `requests` requests of one split.

    `settings` are those of the baselines; `classification` has curve and confusion matrix of each task with classes.
    """

    split: Split
    requests: int
    metrics: dict[str, TaskMetrics]
    baselines: dict[str, dict[str, TaskMetrics]]
    settings: dict[str, dict[str, dict[str, float | int | str]]]
    classification: dict[str, Classification]


def evaluate(model: MultiTaskModel, dataset: Dataset, split: Split) -> Evaluation:
    """Rank all rows for every event of `split` and compare with what the user did."""
    return evaluate_splits(model, dataset, (split,))[split]


def evaluate_splits(
    model: MultiTaskModel,
    dataset: Dataset,
    splits: tuple[Split, ...] = ("validation", "test"),
    tuned: Mapping[str, Mapping[str, Tuned]] | None = None,
    new_rows: IntArray = NO_ROWS,
) -> dict[Split, Evaluation]:
    """`evaluate` for several splits; the baselines are tuned once, on validation, unless they are given.

    `new_rows` (n,) are item rows that joined after training, see `served_scores`.
    """
    if tuned is None:
        tuned = tuned_baselines(dataset, split_requests(dataset, "validation"))
    return {split: _evaluation(model, split_requests(dataset, split), split, tuned, new_rows) for split in splits}


def _evaluation(
    model: MultiTaskModel,
    requests: Requests,
    split: Split,
    tuned: Mapping[str, Mapping[str, Tuned]],
    new_rows: IntArray,
) -> Evaluation:
    scores = request_scores(model, requests, new_rows)
    tasks = requests.dataset.scenario.tasks
    return Evaluation(
        split,
        len(requests),
        {task.name: task_metrics(requests, task, scores[task.name]) for task in tasks},
        {
            task.name: {
                name: task_metrics(requests, task, baseline.candidate.score(requests))
                for name, baseline in tuned.get(task.name, {}).items()
            }
            for task in tasks
        },
        {task: {name: baseline.settings for name, baseline in found.items()} for task, found in tuned.items()},
        {task.name: classification_of(requests, task, scores[task.name]) for task in tasks},
    )


def request_scores(model: MultiTaskModel, requests: Requests, new_rows: IntArray = NO_ROWS) -> dict[str, Scores]:
    """The scores per task, (m, N + 1) or (m, C), that the served model lists by; see `served_scores`."""
    dataset = requests.dataset
    scores = model_scores(model, dataset, requests.events, requests.history)
    return served_scores(scores, dataset.scenario.tasks, requests.seen, new_rows)


def model_scores(model: MultiTaskModel, dataset: Dataset, events: IntArray, history: IntArray) -> dict[str, Scores]:
    """The model's logits per task, (m, N + 1) or (m, C), for the requests just before `events` (m,)."""
    return scores_with(model, history, dataset.text_vectors[dataset.texts[events]])


def scores_with(model: MultiTaskModel, history: IntArray, vectors: Scores) -> dict[str, Scores]:
    """The model's logits per task, (m, N + 1) or (m, C), for histories (m, L) and text vectors (m, D)."""
    parts: dict[str, list[Scores]] = {}
    for start in range(0, len(vectors), BATCH):
        chosen = slice(start, start + BATCH)
        scores = model.score(torch.from_numpy(history[chosen]), torch.from_numpy(vectors[chosen]))
        for name, logits in scores.items():
            parts.setdefault(name, []).append(logits.numpy())
    return {name: np.concatenate(part) for name, part in parts.items()}


def task_metrics(requests: Requests, task: Task, scores: Scores) -> TaskMetrics:
    """The metrics of one task over the requests that have a label; empty where none has one."""
    statistics = task_statistics(requests, task, scores)
    return {name: value_of(statistic, len(requests)) for name, statistic in statistics.items()}
