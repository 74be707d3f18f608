"""Item vectors: the language model's vector of an item's text, projected, plus a learned residual per known item."""

import torch
from torch import Tensor, nn

from polytask.data.catalogue import PADDING_ROW


class StandardScaler(nn.Module):
    """Shift and scale each dimension by fixed statistics of a sample (n, D) -> same shape as its input (..., D)."""

    mean: Tensor
    scale: Tensor

    def __init__(self, sample: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", sample.mean(dim=0))
        self.register_buffer("scale", sample.std(dim=0).clamp(min=1e-6))

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return (vectors - self.mean) / self.scale


class ItemTable(nn.Module):
    """(N + 1, D) text vectors, row 0 padding -> (N + 1, d) item vectors.

    In training the residual of a random share of rows is dropped, so that an item is also known by its text alone: a
    new item, whose residual is zero, then lands near the items it reads like.
    """

    text_vectors: Tensor

    def __init__(self, text_vectors: Tensor, dim: int, id_dropout: float, padding: bool = True) -> None:
        """`padding`: whether "no item" has a learned vector; otherwise it is zero and adds nothing to a sum."""
        super().__init__()
        # The statistics stay: an item that is appended later is measured by them too.
        self.standardise = StandardScaler(text_vectors[PADDING_ROW + 1 :])
        self.register_buffer("text_vectors", self.standardise(text_vectors))
        self.id_dropout = id_dropout
        self.projection = nn.Linear(text_vectors.shape[1], dim)
        self.residual = nn.Embedding(len(text_vectors), dim)
        empty = torch.zeros(dim)
        self.empty = nn.Parameter(empty) if padding else nn.Buffer(empty, persistent=False)
        nn.init.normal_(self.projection.weight, std=0.02)
        nn.init.normal_(self.residual.weight, std=0.02)

    def forward(self) -> Tensor:
        """All item vectors (N + 1, d); row 0 is the vector of "no item"."""
        residual = self.residual.weight
        if self.training and self.id_dropout > 0:
            keep = torch.rand(len(residual), 1, device=residual.device) >= self.id_dropout
            residual = residual * keep
        rows = self.projection(self.text_vectors) + residual
        return torch.cat([self.empty.unsqueeze(0), rows[PADDING_ROW + 1 :]])
