"""Item-to-item transitions: a learned, factorised Markov chain in addition to the history encoder."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polytask.model.item_table import ItemTable

# The weight of the item `lag` steps back starts at LAG_DECAY ** lag, and is learned from there.
LAGS = 8
LAG_DECAY = 0.7


class TransitionTables(NamedTuple):
    """Vectors of every item as the one that was (`sources`) and as the one that follows (`targets`), (N + 1, r)."""

    sources: Tensor
    targets: Tensor


class MarkovHead(nn.Module):
    """Scores an item i after a history h by sum_lag w_lag S[h_-lag] . T[i] (after FPMC; Rendle et al., 2010).

    The transformer generalises over whole histories; what often follows one particular item is learned faster, and
    better for frequent pairs, by a chain of its own. Both tables read the items' texts too, so new items take part.
    """

    def __init__(self, text_vectors: Tensor, dim: int, id_dropout: float, dropout: float) -> None:
        super().__init__()
        self.sources = ItemTable(text_vectors, dim, id_dropout, padding=False)
        self.targets = ItemTable(text_vectors, dim, id_dropout, padding=False)
        self.dropout = nn.Dropout(dropout)
        self.lag_weights = nn.Parameter(LAG_DECAY ** torch.arange(LAGS, dtype=torch.float32))

    def tables(self) -> TransitionTables:
        """The vectors of all items."""
        return TransitionTables(self.sources(), self.targets())

    def forward(self, history: Tensor, tables: TransitionTables) -> Tensor:
        """History (B, L) of item rows, 0 = padding -> (B, L, r): position j sums up its items j, j - 1, ..."""
        sources = F.embedding(history, tables.sources)  # the row of padding is zero
        total = sources * self.lag_weights[0]
        for lag in range(1, min(LAGS, history.shape[1])):
            total = total + F.pad(sources[:, :-lag], (0, 0, lag, 0)) * self.lag_weights[lag]
        out: Tensor = self.dropout(total)
        return out

    def newest(self, history: Tensor, tables: TransitionTables) -> Tensor:
        """The newest position alone, (B, r)."""
        lags = min(LAGS, history.shape[1])
        sources = F.embedding(history[:, -lags:], tables.sources)
        # A product: ONNX Runtime sums in another order in another batch, and a prediction must not depend on its batch.
        out: Tensor = self.dropout((self.lag_weights[:lags].flip(0)[None, None] @ sources)[:, 0])
        return out
