"""Train all tasks together over windows of user histories."""

import random as python_random
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.catalogue import PADDING_ROW
from polytask.dataset import Dataset
from polytask.losses import class_loss, next_item_loss, retrieval_loss, weighted_sum
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Task
from polytask.tables import USERS
from polytask.windows import WindowPlan, Windows


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: mean loss per task and seconds."""

    number: int
    losses: dict[str, float]
    seconds: float


def set_seed(seed: int, threads: int) -> None:
    """Make the run repeatable: seeds of all generators, deterministic kernels, a fixed number of threads."""
    python_random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries below us may use the global generator
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)


def build_model(dataset: Dataset, item_vectors: Tensor) -> MultiTaskModel:
    """A model with fresh weights; `item_vectors` (N, D) without the padding row."""
    padded = torch.cat([torch.zeros(1, item_vectors.shape[1]), item_vectors])
    sample = torch.from_numpy(dataset.text_vectors[: dataset.request_texts])
    return MultiTaskModel(dataset.scenario, padded, sample, users=len(dataset.catalogues[USERS]))


def train(
    dataset: Dataset, item_vectors: Tensor, on_epoch: Callable[[Epoch], None] | None = None
) -> tuple[MultiTaskModel, list[Epoch]]:
    """Train from fresh weights with AdamW and a one-cycle schedule. Returns the model and its loss history."""
    settings = dataset.scenario.training
    set_seed(settings.seed, settings.threads)
    model = build_model(dataset, item_vectors)
    random = np.random.default_rng(settings.seed)
    plan = WindowPlan(dataset, settings.epochs, random)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=sum(plan.batches) + 1)
    batches = _Batches(dataset)
    weights = {task.name: task.weight for task in dataset.scenario.tasks}
    history: list[Epoch] = []
    for number in range(1, settings.epochs + 1):
        started = time.monotonic()
        sums = dict.fromkeys(weights, 0.0)
        model.train()
        for windows in plan.epoch(number - 1, random):
            losses = batches.losses(model, windows)
            optimizer.zero_grad(set_to_none=True)
            weighted_sum(losses, weights).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            for name, loss in losses.items():
                sums[name] += float(loss.detach())
        means = {name: total / plan.batches[number - 1] for name, total in sums.items()}
        epoch = Epoch(number, means, time.monotonic() - started)
        history.append(epoch)
        if on_epoch is not None:
            on_epoch(epoch)
    model.eval()
    return model, history


class _Batches:
    """Turns windows into losses; holds what is the same for all batches."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.text_vectors = torch.from_numpy(dataset.text_vectors)
        # Items without a training event have an untrained residual: as negatives they would only be pushed away.
        self.item_candidates = torch.zeros(len(dataset.catalogues["items"]) + 1, dtype=torch.bool)
        self.item_candidates[torch.from_numpy(dataset.item_rows[dataset.train])] = True
        self.item_candidates[PADDING_ROW] = False

    def losses(self, model: MultiTaskModel, windows: Windows) -> dict[str, Tensor]:
        """The mean loss of each task over the real positions of the windows."""
        catalogues = model.catalogues()
        states = model.histories(torch.from_numpy(windows.inputs), catalogues)
        real = torch.from_numpy(windows.events >= 0)
        events = windows.events[windows.events >= 0]
        text = self.text_vectors[torch.from_numpy(windows.texts)[real]]
        logits = model.logits(states[real], text, catalogues)
        return {task.name: self._loss(task, logits[task.name], events) for task in self.dataset.scenario.tasks}

    def _loss(self, task: Task, logits: Tensor, events: NDArray[np.int64]) -> Tensor:
        labels = self.dataset.labels[task.name]
        labelled = labels.mask[events]
        if not labelled.any():
            return logits.sum() * 0.0
        label = torch.from_numpy(labels.of(events[labelled], self.dataset.item_rows))
        logits = logits[torch.from_numpy(labelled)]
        if task.kind != "retrieval":
            return class_loss(task, logits, label)
        if task.label.source != "peers":
            return next_item_loss(logits, label.long(), self.item_candidates)
        itself = torch.from_numpy(self.dataset.user_rows[events[labelled]])
        candidates = torch.ones_like(label)
        candidates[:, PADDING_ROW] = False
        candidates[torch.arange(len(itself)), itself] = False
        return retrieval_loss(logits, label, candidates)
