"""How the kind `binary` is learned."""

from torch import Tensor
from torch.nn import functional as F

from polytask.scenario.schema import Task
from polytask.tasks.classification_head import ClassificationHead
from polytask.tasks.learning import HeadSizes, Learning


class BinaryLearning(Learning):
    """One logit."""

    def head(self, task: Task, sizes: HeadSizes) -> ClassificationHead:
        """Return a head with one logit."""
        return ClassificationHead(sizes.fused, 1)

    def mean_loss(self, task: Task, logits: Tensor, label: Tensor) -> Tensor:
        """Return the cross-entropy of logits (P, 1) and labels (P,) of 0 and 1."""
        return F.binary_cross_entropy_with_logits(logits.squeeze(-1), label.float())

    def predict(self, task: Task, logits: Tensor) -> tuple[Tensor, ...]:
        """Return the probability (B, 1)."""
        return (logits.sigmoid(),)
