"""How the kind `retrieval` is learned."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from polytask.contract.tensors import MASKED_SCORE
from polytask.scenario.schema import Task
from polytask.tasks.kind import kind_of
from polytask.tasks.learning import HeadInputs, HeadSizes, Learning, LossData, TaskLoss

EXCLUDED = float("-inf")


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


class RetrievalLearning(Learning):
    """Softmax over the items of the catalogue."""

    def head(self, task: Task, sizes: HeadSizes) -> RetrievalHead:
        """Return a head over the catalogue."""
        return RetrievalHead(sizes.fused, sizes.dim, sizes.rows)

    def logits(self, task: Task, head: nn.Module, inputs: HeadInputs) -> Tensor:
        """Return logits (P, N + 1); a task that predicts the next item reads the Markov chain too."""
        assert task.catalogue is not None
        chain = (inputs.transition, inputs.targets) if kind_of(task).follows_items else None
        logits: Tensor = head(inputs.fused, inputs.vectors[task.catalogue], chain)
        return logits

    def loss(self, task: Task, data: LossData) -> TaskLoss:
        """Return the loss of the next item among those that the user has not seen.

        Items that the user has seen by then are never listed: they are no candidates, and no targets either.
        """

        def next_item(logits: Tensor, label: Tensor, events: NDArray[np.int64]) -> tuple[Tensor, float]:
            target = label.long()
            candidates = data.item_candidates.repeat(len(events), 1)
            positions, rows = data.dataset.seen_before(events)
            candidates[data.tensor(positions), data.tensor(rows)] = False
            new = candidates.gather(1, target.unsqueeze(1)).squeeze(1)
            count = int(new.sum())
            if new.all():
                return next_item_loss(logits, target, candidates), count
            if not new.any():
                return logits.sum() * 0.0, count
            return next_item_loss(logits[new], target[new], candidates[new]), count

        return next_item

    def predict(self, task: Task, logits: Tensor) -> tuple[Tensor, ...]:
        """Masked logits (B, N + 1) -> rows (B, K) and scores (B, K), best first; masked rows become 0."""
        batch, rows = logits.shape
        missing = task.top_k - rows
        if missing > 0:
            logits = torch.cat([logits, torch.full((batch, missing), MASKED_SCORE)], dim=1)
        scores, best = torch.topk(logits, task.top_k, dim=1)
        return torch.where(scores > MASKED_SCORE / 2, best, torch.zeros_like(best)), scores


def next_item_loss(logits: Tensor, target: Tensor, candidates: Tensor) -> Tensor:
    """Cross-entropy of one target a row: logits (P, N + 1), target (P,) rows, candidates (P, N + 1) bool."""
    return F.cross_entropy(logits.masked_fill(~candidates, EXCLUDED), target)
