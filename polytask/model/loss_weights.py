"""How much each task counts in the total loss L = sum_i w_i L_i, and how that changes while training."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polytask.scenario.schema import Scenario

# Temperature of the dynamic weight average: the value of its authors.
DWA_TEMPERATURE = 2.0


class StaticWeights(nn.Module):
    """L = sum_i w_i L_i with the scenario's weights w_i."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.static = dict(weights)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The total of one batch."""
        current = self.current()
        return torch.stack([current[task] * loss for task, loss in losses.items()]).sum()

    def current(self) -> dict[str, float]:
        """The weight of each task now."""
        return self.static

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Take note of the mean losses of an epoch."""


class UncertaintyWeights(StaticWeights):
    """L = sum_i w_i (exp(-s_i) L_i + s_i / 2) with learned s_i = log sigma_i^2 (Kendall, Gal and Cipolla, 2018).

    The form for classification; the scenario's weights stay as a prior. A noisy task's weight w_i exp(-s_i) falls.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__(weights)
        self.log_variance = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in weights})

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The total of one batch, with the penalty that keeps the variances from growing without end."""
        parts = []
        for task, loss in losses.items():
            log_variance = self.log_variance[task]
            parts.append(self.static[task] * (torch.exp(-log_variance) * loss + log_variance / 2))
        return torch.stack(parts).sum()

    def current(self) -> dict[str, float]:
        """w_i exp(-s_i)."""
        return {
            task: weight * math.exp(-float(self.log_variance[task].detach())) for task, weight in self.static.items()
        }


class DynamicWeightAverage(StaticWeights):
    """w_i(t) = w_i k softmax_i(r_i / T), r_i = L_i(t - 1) / L_i(t - 2) (Liu, Johns and Davison, 2019).

    A task whose loss falls more slowly than the others' gains weight. The first two epochs use the static weights.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__(weights)
        self.past: list[dict[str, float]] = []

    def current(self) -> dict[str, float]:
        """The weights of the running epoch."""
        if len(self.past) < 2:
            return self.static
        before, last = self.past[-2:]
        # A loss of exactly 0 (a task without labels in an epoch) has no rate: it counts as unchanged.
        rates = {task: last[task] / before[task] if before[task] > 0 else 1.0 for task in self.static}
        scale = {task: math.exp(rate / DWA_TEMPERATURE) for task, rate in rates.items()}
        total = sum(scale.values())
        return {task: weight * len(scale) * scale[task] / total for task, weight in self.static.items()}

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Keep the last two epochs."""
        self.past = [*self.past, dict(losses)][-2:]


def build_weights(scenario: Scenario, tasks: Sequence[str] | None = None) -> StaticWeights:
    """The weighting that the scenario names, over `tasks` (all by default)."""
    weights = {task.name: task.weight for task in scenario.tasks if tasks is None or task.name in tasks}
    kinds = {"static": StaticWeights, "uncertainty": UncertaintyWeights, "dwa": DynamicWeightAverage}
    return kinds[scenario.training.loss_weighting](weights)
