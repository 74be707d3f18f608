"""From a batch of windows to the mean loss of each task."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.data.dataset import Dataset
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Task
from polytask.tasks.learning import LossData, TaskLoss, learning_of
from polytask.training.windows import Windows

CPU = torch.device("cpu")


class TaskLosses:
    """Turns windows into losses on one device; holds what is the same for all batches.

    `counts` has the divisor of each mean of the last batch, so that parts of a batch can be weighted.
    """

    def __init__(
        self,
        dataset: Dataset,
        device: torch.device = CPU,
        encode: Callable[[NDArray[np.int64]], Tensor] | None = None,
    ) -> None:
        """`encode` gives text vectors (P, D) for rows (P,) of the data set's texts; by default they are looked up."""
        self.dataset = dataset
        self.data = LossData(dataset, device)
        self.encode = encode
        self.counts: dict[str, float] = {}
        self.text_vectors = self.data.tensor(dataset.text_vectors)
        self._losses: dict[str, TaskLoss] = {}

    def __call__(self, model: MultiTaskModel, windows: Windows) -> dict[str, Tensor]:
        """The mean loss of each task over the real positions of the windows."""
        catalogues = model.catalogues()
        histories = model.histories(self.data.tensor(windows.inputs), catalogues)
        real = windows.events >= 0
        events, rows = windows.events[real], windows.texts[real]
        text = self.text_vectors[self.data.tensor(rows)] if self.encode is None else self.encode(rows)
        logits = model.logits(histories.at(self.data.tensor(real)), text, catalogues)
        return {task.name: self.task_loss(task, logits[task.name], events) for task in self.dataset.scenario.tasks}

    def task_loss(self, task: Task, logits: Tensor, events: NDArray[np.int64]) -> Tensor:
        """The mean loss of one task over those of `events` (P,) that have a label; logits (P, ...)."""
        labels = self.dataset.labels[task.name]
        labelled = labels.mask[events]
        self.counts[task.name] = int(labelled.sum())
        if not labelled.any():
            return logits.sum() * 0.0
        label = self.data.tensor(labels.of(events[labelled], self.dataset.item_rows))
        if not labelled.all():  # the copy of a large matrix costs as much as a layer
            logits = logits[self.data.tensor(labelled)]
        loss, self.counts[task.name] = self.loss_of(task)(logits, label, events[labelled])
        return loss

    def loss_of(self, task: Task) -> TaskLoss:
        """The loss of a task in this training."""
        if task.name not in self._losses:
            self._losses[task.name] = learning_of(task).loss(task, self.data)
        return self._losses[task.name]
