"""How a kind is learned (torch): head, loss and prediction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pkgutil import resolve_name
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask.data.catalogue import PADDING_ROW
from polytask.data.dataset import Dataset
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Task
from polytask.tasks.kind import Bounds, kind_of

# Logits (P, ...), labels (P, ...) and events (P,) of the rows that have a label -> mean loss, and what the sum was
# divided by, so that parts of a batch can be weighed.
TaskLoss = Callable[[Tensor, Tensor, NDArray[np.int64]], tuple[Tensor, float]]


class HeadSizes(NamedTuple):
    """Width of what a head reads, width of the model, rows N of the task's catalogue (0 without one), label bounds."""

    fused: int
    dim: int
    rows: int
    bounds: Bounds = (None, None)


class HeadInputs(NamedTuple):
    """What a head may read for P positions.

    Attributes:
        fused: (P, k * d) the fused towers of the task.
        vectors: Catalogue -> (N + 1, d).
        transition: (P, r) what the newest items of the history lead to.
        targets: (N + 1, r) vectors of the items as the one that follows.
    """

    fused: Tensor
    vectors: Mapping[str, Tensor]
    transition: Tensor
    targets: Tensor


@dataclass(frozen=True)
class LossData:
    """The data set of a training, on one device."""

    dataset: Dataset
    device: torch.device

    def tensor(self, array: NDArray[np.generic]) -> Tensor:
        """Return an array as a tensor on the device."""
        return torch.from_numpy(array).to(self.device)

    @cached_property
    def item_candidates(self) -> Tensor:
        """(N + 1,) bool: items with a training event.

        The residual of the others is untrained: as negatives they would only be pushed away.
        """
        items = len(self.dataset.catalogues[ITEMS]) if ITEMS in self.dataset.catalogues else 0
        candidates = torch.zeros(items + 1, dtype=torch.bool)
        candidates[torch.from_numpy(self.dataset.item_rows[self.dataset.train])] = True
        candidates[PADDING_ROW] = False
        return candidates.to(self.device)


class Learning:
    """Head, loss and prediction of one kind. An instance has no state."""

    def head(self, task: Task, sizes: HeadSizes) -> nn.Module:
        """Return a new head. The order in which it draws random weights is part of what makes a training repeatable."""
        raise NotImplementedError(f"{type(self).__name__} has no head")

    def start(self, task: Task, head: nn.Module, dataset: Dataset) -> None:
        """Set what a new head starts with, from the training labels."""

    def logits(self, task: Task, head: nn.Module, inputs: HeadInputs) -> Tensor:
        """Return the logits (P, ...) of a head."""
        logits: Tensor = head(inputs.fused)
        return logits

    def mean_loss(self, task: Task, logits: Tensor, label: Tensor) -> Tensor:
        """Return the mean loss of the rows (P, ...) that have a label."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def loss(self, task: Task, data: LossData) -> TaskLoss:
        """Return the loss of `task` in one training; by default the mean over the rows by `mean_loss`."""
        return lambda logits, label, events: (self.mean_loss(task, logits, label), len(events))

    def predict(self, task: Task, logits: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of the kind's spec, in their order, as part of the exported graph.

        Args:
            task: The task.
            logits: (B, C); for a task with a catalogue (B, N + 1), `MASKED_SCORE` where a row may not be listed.
        """
        raise NotImplementedError(f"{type(self).__name__} predicts nothing")


@cache
def _learning(name: str) -> Learning:
    learning: Learning = resolve_name(name)()
    return learning


def learning_of(task: Task) -> Learning:
    """Return the learning of the kind of `task`."""
    return _learning(kind_of(task).learning)
