"""Full-ranking evaluation of a model and of every baseline on the events of one split."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.catalogue import PADDING_ROW
from polytask.dataset import Dataset
from polytask.evaluation import metrics
from polytask.evaluation.baselines import baselines_of
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Task
from polytask.splits import Split
from polytask.tensors import HISTORY, SEEN

Scores = NDArray[np.float32]
IntArray = NDArray[np.int64]
TaskMetrics = dict[str, float]

LIST_LENGTH = 10
SHELF_LENGTH = 5
BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """Metrics per task, and per task and baseline, over `requests` requests of one split."""

    split: Split
    requests: int
    metrics: dict[str, TaskMetrics]
    baselines: dict[str, dict[str, TaskMetrics]]


def evaluate(model: MultiTaskModel, dataset: Dataset, split: Split) -> Evaluation:
    """Rank all rows for every event of `split` and compare with what the user did."""
    events = np.flatnonzero(dataset.split == split)
    requests = dataset.requests(events)
    rows = dataset.request_encoder().rows(requests)
    nothing = np.zeros((len(events), 0), dtype=np.int64)  # a scenario without items has neither
    history, seen = rows.get(HISTORY, nothing), rows.get(SEEN, nothing)
    scores = model_scores(model, dataset, events, history)
    result: dict[str, TaskMetrics] = {}
    baselines: dict[str, dict[str, TaskMetrics]] = {}
    for task in dataset.scenario.tasks:
        result[task.name] = task_metrics(dataset, task, events, scores[task.name], seen)
        baselines[task.name] = {
            name: task_metrics(dataset, task, events, baseline(dataset, task, events, history), seen)
            for name, baseline in baselines_of(task).items()
        }
    return Evaluation(split, len(events), result, baselines)


def model_scores(model: MultiTaskModel, dataset: Dataset, events: IntArray, history: IntArray) -> dict[str, Scores]:
    """The model's logits per task, (m, N + 1) or (m, C), for the requests just before `events` (m,)."""
    parts: dict[str, list[Scores]] = {}
    for start in range(0, len(events), BATCH):
        chosen = slice(start, start + BATCH)
        text = torch.from_numpy(dataset.text_vectors[dataset.texts[events[chosen]]])
        for name, logits in model.score(torch.from_numpy(history[chosen]), text).items():
            parts.setdefault(name, []).append(logits.numpy())
    return {name: np.concatenate(part) for name, part in parts.items()}


def task_metrics(dataset: Dataset, task: Task, events: IntArray, scores: Scores, seen: IntArray) -> TaskMetrics:
    """The metrics of one task over the events that have a label. `seen` (m, S): item rows left out of item lists."""
    labels = dataset.labels[task.name]
    labelled = labels.mask[events]
    if not labelled.any():
        return {}
    chosen = events[labelled]
    label = labels.of(chosen, dataset.item_rows)
    scores = scores[labelled]
    if task.kind == "retrieval" and task.label.source == "peers":
        return _peer_metrics(scores, label.astype(np.bool_), dataset.user_rows[chosen])
    if task.kind == "retrieval":
        return _item_metrics(scores, label.astype(np.int64), seen[labelled])
    if task.kind == "multilabel":
        relevant = label.astype(np.bool_)
        return {
            f"ndcg@{SHELF_LENGTH}": float(metrics.ndcg_of_classes(scores, relevant, SHELF_LENGTH).mean()),
            "hr@1": float(metrics.first_is_relevant(scores, relevant).mean()),
        }
    return {}


def _item_metrics(scores: Scores, target: IntArray, seen: IntArray) -> TaskMetrics:
    """Padding fills `seen` up with row 0, so masking the seen rows masks the padding row too."""
    allowed = scores.copy()
    allowed[:, PADDING_ROW] = -np.inf
    np.put_along_axis(allowed, seen, -np.inf, axis=1)
    # A target that the user has seen before could never be listed: it stays ranked, last.
    ranks = metrics.ranks_of(allowed, target)
    top = metrics.top_rows(allowed, LIST_LENGTH)
    return {
        f"ndcg@{LIST_LENGTH}": float(metrics.ndcg_of_rank(ranks, LIST_LENGTH).mean()),
        f"hr@{LIST_LENGTH}": float(metrics.hit_rate(ranks, LIST_LENGTH).mean()),
        "mrr": float(metrics.reciprocal_rank(ranks).mean()),
        "coverage": metrics.coverage(_listed(allowed, top), scores.shape[1] - 1),
    }


def _peer_metrics(scores: Scores, peers: NDArray[np.bool_], itself: IntArray) -> TaskMetrics:
    """The user itself is neither listed nor counted as its own peer."""
    requests = np.arange(len(itself))
    allowed, positives = scores.copy(), peers.copy()
    allowed[:, PADDING_ROW] = -np.inf
    allowed[requests, itself] = -np.inf
    positives[requests, itself] = False
    top = metrics.top_rows(allowed, LIST_LENGTH)
    return {
        f"precision@{LIST_LENGTH}": float(metrics.precision(top, positives).mean()),
        f"excess_precision@{LIST_LENGTH}": float(metrics.excess_precision(top, positives).mean()),
        "coverage": metrics.coverage(_listed(allowed, top), scores.shape[1] - 1),
    }


def _listed(allowed: Scores, top: IntArray) -> IntArray:
    """The rows that really stand in the lists (m, k), flat: where a catalogue is shorter, masked rows fill them up."""
    rows: IntArray = top[np.isfinite(np.take_along_axis(allowed, top, axis=1))]
    return rows
