"""One loss per task kind. Every function takes the logits of the rows that have a label and returns their mean loss."""

from torch import Tensor
from torch.nn import functional as F

from polytask.scenario.schema import Task

EXCLUDED = float("-inf")

# 0 counts every row alike, 1 every pair of a row and a positive. Rows with many positives are those of popular items:
# the larger their weight, the more the predictions follow popularity and the less the user.
POSITIVES_POWER = 0.25


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


def next_item_loss(logits: Tensor, target: Tensor, candidates: Tensor) -> Tensor:
    """`retrieval_loss` for exactly one positive a row, without its (P, N + 1) mask: target (P,) rows."""
    return F.cross_entropy(logits.masked_fill(~candidates, EXCLUDED), target)


def class_loss(task: Task, logits: Tensor, label: Tensor, spread: float = 1.0) -> Tensor:
    """Loss of a task without a catalogue; logits (P, C).

    multiclass: label (P,) class numbers; multilabel: (P, C) 0/1, at least one 1 a row, as the uniform distribution over
    the true classes (the classes are ranked against each other); binary and regression: (P,) numbers. In regression
    the error is divided by `spread`, the labels' standard deviation, before the Huber loss (bend at 1).
    """
    if task.kind == "multiclass":
        return F.cross_entropy(logits, label.long())
    if task.kind == "multilabel":
        shares = label.float() / label.float().sum(dim=-1, keepdim=True)
        return F.cross_entropy(logits, shares)
    if task.kind == "binary":
        return F.binary_cross_entropy_with_logits(logits.squeeze(-1), label.float())
    return F.huber_loss(logits.squeeze(-1) / spread, label.float() / spread)
