"""How the kind `regression` is learned."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polytask.data.dataset import Dataset
from polytask.scenario.schema import Task
from polytask.tasks.kind import Bounds
from polytask.tasks.learning import HeadSizes, Learning, LossData, TaskLoss


class RegressionHead(nn.Module):
    """A linear layer to one number, mean + scale * x: it starts at the labels' mean and learns in their spread.

    Predictions are clipped to `bounds` outside training, because there is no gradient beyond them.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, fused_dim: int, bounds: Bounds = (None, None)) -> None:
        super().__init__()
        self.bounds = bounds
        self.linear = nn.Linear(fused_dim, 1)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def start_at(self, mean: float, scale: float) -> None:
        """Set the mean and the standard deviation of the training labels."""
        self.mean.fill_(mean)
        self.scale.fill_(scale)

    def forward(self, fused: Tensor) -> Tensor:
        """Fused (..., k * d) -> value in the labels' unit (..., 1)."""
        value: Tensor = self.mean + self.scale * self.linear(fused)
        return value if self.training or self.bounds == (None, None) else value.clamp(*self.bounds)


class RegressionLearning(Learning):
    """Huber loss in units of the labels' spread: tasks in years and in cents weigh the same."""

    def head(self, task: Task, sizes: HeadSizes) -> RegressionHead:
        """Return a head with one value."""
        return RegressionHead(sizes.fused, sizes.bounds)

    def start(self, task: Task, head: nn.Module, dataset: Dataset) -> None:
        """Start at the mean of the training labels."""
        cast(RegressionHead, head).start_at(*dataset.label_scale(task.name))

    def mean_loss(self, task: Task, logits: Tensor, label: Tensor, spread: float = 1.0) -> Tensor:
        """Return the Huber loss (bend at 1) of values (P, 1) and labels (P,), both divided by `spread`."""
        return F.huber_loss(logits.squeeze(-1) / spread, label.float() / spread)

    def loss(self, task: Task, data: LossData) -> TaskLoss:
        """Return the Huber loss in units of the standard deviation of the training labels."""
        spread = data.dataset.label_scale(task.name)[1]
        return lambda logits, label, events: (self.mean_loss(task, logits, label, spread), len(events))

    def predict(self, task: Task, logits: Tensor) -> tuple[Tensor, ...]:
        """Return the value itself, (B, 1)."""
        return (logits,)
