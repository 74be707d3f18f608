"""One update of weights, which training, a new task and the cold start share: AdamW with a one-cycle schedule."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.lr_scheduler import OneCycleLR

LARGEST_NORM = 1.0


class OneCycleAdamW:
    """AdamW (Loshchilov and Hutter, 2019) with a one-cycle schedule (Smith and Topin, 2018) and clipped gradients.

    Args:
        groups: Parameter groups as AdamW takes them, each with `params`, and settings of its own.
        rates: Peak learning rate of each group.
        weight_decay: Weight decay of groups that set none.
        steps: Number of updates.
        clipped: Parameters whose gradients are scaled together to a norm of at most 1; none are scaled by default.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        rates: Sequence[float],
        weight_decay: float,
        steps: int,
        clipped: Sequence[Parameter] = (),
    ) -> None:
        self.optimizer = torch.optim.AdamW(list(groups), lr=rates[0], weight_decay=weight_decay)
        self.schedule = OneCycleLR(self.optimizer, list(rates), total_steps=steps + 1)
        self._clipped = list(clipped)

    def update(self, loss: Tensor, reduce_gradients: Callable[[], None] | None = None) -> None:
        """Update the weights by the gradients of a loss.

        Args:
            loss: The loss, a scalar.
            reduce_gradients: Called after the backward pass, for example to add the gradients of other processes.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if reduce_gradients is not None:
            reduce_gradients()
        if self._clipped:
            torch.nn.utils.clip_grad_norm_(self._clipped, LARGEST_NORM)
        self.optimizer.step()
        self.schedule.step()
