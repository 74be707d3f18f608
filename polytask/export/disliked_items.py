"""Disliked items: the scores of items similar to the disliked items of a request are lowered in tasks over items."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Scenario, Task
from polytask.tasks.kind import kind_of
from polytask.text.templates import is_missing


class DislikedItems(nn.Module):
    """Lowers the logits of a request that names items j it wants less of:

        logit_c -= strength * spread * max_j max(0, cos(v_c, v_j))

    In a list of items, v are the item vectors. In a task whose classes are read from the item, v_c is the class alone
    and v_j holds all classes of item j, so that the cosine is 1 / sqrt(number of classes of j) where j has the class.
    `spread` is the standard deviation of the request's logits over the rows (or classes), which makes the strength
    mean the same with and without a query. Without disliked items nothing changes, not even by rounding.
    """

    scale: Tensor

    def __init__(self, scenario: Scenario, item_vectors: Tensor, items: Catalogue) -> None:
        """`item_vectors` (N + 1, d), row 0 padding."""
        super().__init__()
        self.strength = scenario.model.disliked_strength
        # One factor per item rather than a second copy of the vectors in the served graph.
        self.register_buffer("scale", _inverse_lengths(item_vectors))
        for task in scenario.tasks:
            if _has_classes_of_items(task):
                classes = item_classes(task, items)
                self.register_buffer(_buffer(task), classes * _inverse_lengths(classes))

    def forward(self, task: Task, logits: Tensor, disliked: Tensor, item_vectors: Tensor) -> Tensor:
        """Logits (B, N + 1) or (B, C) of a task and disliked item rows (B, M), 0 = padding -> lowered logits."""
        if task.catalogue == ITEMS:
            wanted_less = F.embedding(disliked, item_vectors) * F.embedding(disliked, self.scale)
            likeness = (wanted_less @ item_vectors.T).amax(dim=1).relu() * self.scale.squeeze(1)
            spread = logits[:, PADDING_ROW + 1 :].std(dim=1, correction=0, keepdim=True)
        elif _has_classes_of_items(task):
            likeness = F.embedding(disliked, getattr(self, _buffer(task))).amax(dim=1)
            spread = logits.std(dim=1, correction=0, keepdim=True)
        else:
            return logits
        return logits - self.strength * spread * likeness


def item_classes(task: Task, items: Catalogue) -> Tensor:
    """(N + 1, C): 1 where an item has a class of the task's label column, row 0 padding.

    An item that joined after training may have a value that is no class of the task: there is nothing to lower for it.
    """
    number = {name: position for position, name in enumerate(task.classes or ())}
    members = torch.zeros(len(items) + 1, len(number))
    for row, value in enumerate(items.table[task.label.column], start=PADDING_ROW + 1):
        names = value if isinstance(value, (list, tuple, np.ndarray)) else [] if is_missing(value) else [value]
        members[row, [number[str(name)] for name in names if str(name) in number]] = 1.0
    return members


def _inverse_lengths(vectors: Tensor) -> Tensor:
    """1 / length of each vector of (n, m), as (n, 1); 0 for the padding row and for vectors of length 0."""
    lengths = vectors.detach().norm(dim=1, keepdim=True)
    inverse = torch.where(lengths > 0, 1.0 / lengths, torch.zeros_like(lengths))
    inverse[PADDING_ROW] = 0.0
    return inverse


def _has_classes_of_items(task: Task) -> bool:
    return kind_of(task).scores_classes and task.label.table == ITEMS


def _buffer(task: Task) -> str:
    return f"classes_of_{task.name}"
