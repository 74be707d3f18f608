"""From a batch of windows to the mean loss of each task."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.data.catalogue import PADDING_ROW
from polytask.data.dataset import Dataset
from polytask.model.losses import class_loss, next_item_loss, retrieval_loss, row_weights
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Task
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
        self.device = device
        self.encode = encode
        self.counts: dict[str, float] = {}
        self.text_vectors = self._tensor(dataset.text_vectors)
        # Items without a training event have an untrained residual: as negatives they would only be pushed away.
        items = len(dataset.catalogues[ITEMS]) if ITEMS in dataset.catalogues else 0
        self.item_candidates = torch.zeros(items + 1, dtype=torch.bool)
        self.item_candidates[torch.from_numpy(dataset.item_rows[dataset.train])] = True
        self.item_candidates[PADDING_ROW] = False
        self.item_candidates = self.item_candidates.to(device)
        # In regression, an error counts in units of the labels' spread: tasks in years and in cents weigh the same.
        numbers = [task.name for task in dataset.scenario.tasks if task.kind == "regression"]
        self.label_spread = {name: dataset.label_scale(name)[1] for name in numbers}

    def __call__(self, model: MultiTaskModel, windows: Windows) -> dict[str, Tensor]:
        """The mean loss of each task over the real positions of the windows."""
        catalogues = model.catalogues()
        histories = model.histories(self._tensor(windows.inputs), catalogues)
        real = windows.events >= 0
        events, rows = windows.events[real], windows.texts[real]
        text = self.text_vectors[self._tensor(rows)] if self.encode is None else self.encode(rows)
        logits = model.logits(histories.at(self._tensor(real)), text, catalogues)
        return {task.name: self.task_loss(task, logits[task.name], events) for task in self.dataset.scenario.tasks}

    def task_loss(self, task: Task, logits: Tensor, events: NDArray[np.int64]) -> Tensor:
        """The mean loss of one task over those of `events` (P,) that have a label; logits (P, ...)."""
        labels = self.dataset.labels[task.name]
        labelled = labels.mask[events]
        self.counts[task.name] = int(labelled.sum())
        if not labelled.any():
            return logits.sum() * 0.0
        label = self._tensor(labels.of(events[labelled], self.dataset.item_rows))
        if not labelled.all():  # the copy of a large matrix costs as much as a layer
            logits = logits[self._tensor(labelled)]
        if task.kind != "retrieval":
            return class_loss(task, logits, label, self.label_spread.get(task.name, 1.0))
        if task.label.source != "peers":
            return self._next_item(task, logits, label.long(), events[labelled])
        itself = self._tensor(self.dataset.user_rows[events[labelled]])
        candidates = torch.ones_like(label)
        candidates[:, PADDING_ROW] = False
        candidates[torch.arange(len(itself), device=self.device), itself] = False
        self.counts[task.name] = float(row_weights(label & candidates).sum())
        return retrieval_loss(logits, label, candidates)

    def _next_item(self, task: Task, logits: Tensor, target: Tensor, events: NDArray[np.int64]) -> Tensor:
        """Items that the user has already seen are never recommended: they are neither candidates nor targets."""
        candidates = self.item_candidates.repeat(len(events), 1)
        positions, rows = self.dataset.seen_before(events)
        candidates[self._tensor(positions), self._tensor(rows)] = False
        new = candidates.gather(1, target.unsqueeze(1)).squeeze(1)
        self.counts[task.name] = int(new.sum())
        if new.all():
            return next_item_loss(logits, target, candidates)
        if not new.any():
            return logits.sum() * 0.0
        return next_item_loss(logits[new], target[new], candidates[new])

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.device)
