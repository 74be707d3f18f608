"""How the kind `multiclass` is learned."""

from torch import Tensor
from torch.nn import functional as F

from polytask.scenario.schema import Task
from polytask.tasks.classification_head import ClassificationHead
from polytask.tasks.learning import HeadSizes, Learning


class MulticlassLearning(Learning):
    """Softmax over the classes."""

    def head(self, task: Task, sizes: HeadSizes) -> ClassificationHead:
        """Return a head with one logit per class."""
        return ClassificationHead(sizes.fused, len(task.classes or ()))

    def mean_loss(self, task: Task, logits: Tensor, label: Tensor) -> Tensor:
        """Return the cross-entropy of logits (P, C) and class numbers (P,)."""
        return F.cross_entropy(logits, label.long())

    def predict(self, task: Task, logits: Tensor) -> tuple[Tensor, ...]:
        """Return probabilities (B, C) that add up to one."""
        return (logits.softmax(dim=-1),)
