"""How the kind `multilabel` is learned."""

from torch import Tensor
from torch.nn import functional as F

from polytask.scenario.schema import Task
from polytask.tasks.multiclass.learning import MulticlassLearning


class MultilabelLearning(MulticlassLearning):
    """Softmax over the classes: the probabilities are shares of attention. Head and prediction as in `multiclass`."""

    def mean_loss(self, task: Task, logits: Tensor, label: Tensor) -> Tensor:
        """Return the cross-entropy of logits (P, C) and the uniform distribution over the true classes.

        The classes are ranked against each other. Labels are (P, C) 0/1, at least one 1 a row.
        """
        shares = label.float() / label.float().sum(dim=-1, keepdim=True)
        return F.cross_entropy(logits, shares)
