"""From the shared state s to what each task's head reads: the three ways to share that a scenario can choose.

d is the model's dimension, k the number of tasks. Every fusion has `task_dim`, the width of what a head reads, and
`shared_dim`, the width of what all tasks share, on which a task that is added later builds.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from polytask.model.task_modules import TaskModules
from polytask.scenario.schema import Model


class Tower(nn.Module):
    """One task's view of the shared state: E_i = s + MLP(s), (..., d) -> (..., d)."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim)
        )

    def forward(self, state: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        view: Tensor = state + self.layers(state)
        return view


class Fusion(Protocol):
    """What the model needs of a fusion."""

    task_dim: int
    shared_dim: int

    def shared(self, state: Tensor) -> Tensor:
        """State (..., d) -> what all tasks share, (..., shared_dim)."""

    def of_tasks(self, state: Tensor, shared: Tensor) -> dict[str, Tensor]:
        """State and its shared part -> what the head of each task reads, (..., task_dim)."""


class ConcatFusion(nn.Module):
    """F = concat(E_1, ..., E_k), the source article's fusion: every head reads all towers."""

    def __init__(self, tasks: Sequence[str], dim: int, dropout: float) -> None:
        super().__init__()
        self.towers = TaskModules({task: Tower(dim, dropout) for task in tasks})
        self.shared_dim = self.task_dim = dim * len(tasks)

    def shared(self, state: Tensor) -> Tensor:
        """F (..., k * d); the order of the parts is the scenario's order of tasks."""
        return torch.cat([tower(state) for tower in self.towers.values()], dim=-1)

    def of_tasks(self, state: Tensor, shared: Tensor) -> dict[str, Tensor]:
        """F for every task."""
        return dict.fromkeys(self.towers, shared)


class SharedBottomFusion(nn.Module):
    """One shared bottom, then a tower per task that no other head reads (Caruana, 1997)."""

    def __init__(self, tasks: Sequence[str], dim: int, dropout: float) -> None:
        super().__init__()
        self.bottom = Tower(dim, dropout)
        self.towers = TaskModules({task: Tower(dim, dropout) for task in tasks})
        self.shared_dim = self.task_dim = dim

    def shared(self, state: Tensor) -> Tensor:
        """The bottom (..., d)."""
        bottom: Tensor = self.bottom(state)
        return bottom

    def of_tasks(self, state: Tensor, shared: Tensor) -> dict[str, Tensor]:
        """E_i(bottom) for every task."""
        return {task: tower(shared) for task, tower in self.towers.items()}


class MMoE(nn.Module):
    """Multi-gate mixture of experts (Ma et al., 2018): f_i = sum_e softmax(W_i s)_e Expert_e(s), then tower i."""

    def __init__(self, tasks: Sequence[str], dim: int, dropout: float, experts: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Tower(dim, dropout) for _ in range(experts))
        self.gates = TaskModules({task: nn.Linear(dim, experts, bias=False) for task in tasks})
        self.towers = TaskModules({task: Tower(dim, dropout) for task in tasks})
        self.task_dim = dim
        self.shared_dim = dim * experts

    def shared(self, state: Tensor) -> Tensor:
        """All experts side by side, (..., experts * d)."""
        return torch.cat([expert(state) for expert in self.experts], dim=-1)

    def of_tasks(self, state: Tensor, shared: Tensor) -> dict[str, Tensor]:
        """The tower of each task over its own mixture."""
        experts = shared.view(*shared.shape[:-1], len(self.experts), self.task_dim)
        mixed: dict[str, Tensor] = {}
        for task, tower in self.towers.items():
            gate = self.gates[task](state).softmax(dim=-1)
            mixed[task] = tower((gate.unsqueeze(-1) * experts).sum(dim=-2))
        return mixed


def build_fusion(sizes: Model, tasks: Sequence[str]) -> ConcatFusion | SharedBottomFusion | MMoE:
    """The fusion that the scenario names, for `tasks` in their order."""
    if sizes.fusion == "concat":
        return ConcatFusion(tasks, sizes.dim, sizes.dropout)
    if sizes.fusion == "shared_bottom":
        return SharedBottomFusion(tasks, sizes.dim, sizes.dropout)
    return MMoE(tasks, sizes.dim, sizes.dropout, sizes.experts)
