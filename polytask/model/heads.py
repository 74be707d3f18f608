"""Heads g_i: from the fused towers F (..., k * d) to the logits of one task."""

import torch
from torch import Tensor, nn

from polytask.scenario.schema import Task


class RetrievalHead(nn.Module):
    """Scores every row of a catalogue by the inner product with its vector, plus a bias per row."""

    def __init__(self, fused_dim: int, dim: int, rows: int) -> None:
        super().__init__()
        self.query = nn.Linear(fused_dim, dim)
        self.bias = nn.Parameter(torch.zeros(rows + 1))

    def forward(self, fused: Tensor, catalogue: Tensor, extra: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Fused (..., k * d) and catalogue vectors (N + 1, d) -> logits (..., N + 1).

        `extra`: a further query (..., r) and its vectors (N + 1, r), whose products are added.
        """
        query = self.query(fused)
        if extra is not None:  # one product of wider vectors costs less than two products and a sum
            query, catalogue = torch.cat([query, extra[0]], dim=-1), torch.cat([catalogue, extra[1]], dim=-1)
        logits: Tensor = query @ catalogue.T + self.bias
        return logits


class ClassificationHead(nn.Module):
    """A linear layer to one logit per class, or to one for binary tasks."""

    def __init__(self, fused_dim: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(fused_dim, outputs)

    def forward(self, fused: Tensor) -> Tensor:
        """Fused (..., k * d) -> logits (..., C)."""
        logits: Tensor = self.linear(fused)
        return logits


class RegressionHead(nn.Module):
    """A linear layer to one number, mean + scale * x: it starts at the labels' mean and learns in their spread.

    The prediction is clipped to `bounds` in evaluation only; training has no gradient from the bounds.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, fused_dim: int, bounds: tuple[float | None, float | None] = (None, None)) -> None:
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


def build_head(
    task: Task, fused_dim: int, dim: int, rows: int, bounds: tuple[float | None, float | None] = (None, None)
) -> RetrievalHead | ClassificationHead | RegressionHead:
    """The head for a task; `rows` is the size of its catalogue where it has one, `bounds` are those of its numbers."""
    if task.kind == "retrieval":
        return RetrievalHead(fused_dim, dim, rows)
    if task.kind == "regression":
        return RegressionHead(fused_dim, bounds)
    return ClassificationHead(fused_dim, 1 if task.classes is None else len(task.classes))


def answer(task: Task, logits: Tensor) -> Tensor:
    """The prediction of a task without a catalogue, (..., C): probabilities, or the value itself in regression.

    The probabilities of classes add up to one, for multilabel tasks too: there they are shares of attention.
    """
    if task.kind in ("multiclass", "multilabel"):
        return logits.softmax(dim=-1)
    if task.kind == "regression":
        return logits
    return logits.sigmoid()
