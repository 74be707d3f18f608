"""How the kind `co_interaction` is learned."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.data.catalogue import PADDING_ROW
from polytask.scenario.schema import Task
from polytask.tasks.learning import LossData, TaskLoss
from polytask.tasks.retrieval.learning import EXCLUDED, RetrievalLearning

# 0 counts every row alike, 1 every pair of a row and a positive. Rows with many positives are those of popular items:
# the more they weigh, the more the predictions follow the crowd and the less the person.
POSITIVES_POWER = 0.25


class CoInteractionLearning(RetrievalLearning):
    """Softmax over the users, with several positives. Head and prediction are those of `retrieval`."""

    def loss(self, task: Task, data: LossData) -> TaskLoss:
        """Return the loss over all users but the one of the request."""

        def other_users(logits: Tensor, label: Tensor, events: NDArray[np.int64]) -> tuple[Tensor, float]:
            itself = data.tensor(data.dataset.user_rows[events])
            candidates = torch.ones_like(label)
            candidates[:, PADDING_ROW] = False
            candidates[torch.arange(len(itself), device=data.device), itself] = False
            count = float(row_weights(label & candidates).sum())
            return retrieval_loss(logits, label, candidates), count

        return other_users


def retrieval_loss(logits: Tensor, positives: Tensor, candidates: Tensor) -> Tensor:
    """Full-softmax cross-entropy against the uniform distribution over a row's positives.

    logits (P, N + 1); positives (P, N + 1) bool, at least one a row; candidates (N + 1,) or (P, N + 1) bool: rows that
    are not candidates (padding, items never seen in training, the user itself) stay out of the softmax. A row with n
    positives weighs n ** POSITIVES_POWER.
    """
    log_probabilities = logits.masked_fill(~candidates, EXCLUDED).log_softmax(dim=-1)
    hits = positives & candidates
    losses = -log_probabilities.masked_fill(~hits, 0.0).sum(dim=-1) / hits.sum(dim=-1).clamp(min=1)
    weights = row_weights(hits)
    return (weights * losses).sum() / weights.sum()


def row_weights(hits: Tensor) -> Tensor:
    """The weight of each row (P,) in `retrieval_loss`, from its positives among the candidates (P, N + 1) bool."""
    return hits.sum(dim=-1).clamp(min=1).float() ** POSITIVES_POWER
