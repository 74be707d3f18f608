"""Towers E_i and their fusion F, as the source article of this project defines them."""

import torch
from torch import Tensor, nn


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


class ConcatFusion(nn.Module):
    """F = concat(E_1, ..., E_k): states (..., d) -> (..., k * d). Every head reads all towers."""

    def __init__(self, tasks: list[str], dim: int, dropout: float) -> None:
        super().__init__()
        self.towers = nn.ModuleDict({task: Tower(dim, dropout) for task in tasks})
        self.dim = dim * len(tasks)

    def forward(self, state: Tensor) -> Tensor:
        """The order of the parts is the scenario's order of tasks."""
        return torch.cat([tower(state) for tower in self.towers.values()], dim=-1)
