"""A small causal transformer over the items of a user's history."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polytask.data.catalogue import PADDING_ROW


class Block(nn.Module):
    """Pre-norm attention and feed-forward with residual connections: (B, L, d) -> (B, L, d)."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim)
        )
        self.residual_dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, allowed: Tensor) -> Tensor:
        """`allowed` (B, 1, L, L): which position may look at which."""
        batch, length, dim = states.shape
        qkv = self.qkv(self.attention_norm(states)).view(batch, length, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        return self._from(states, query, key, value, allowed)

    def newest(self, states: Tensor, allowed: Tensor) -> Tensor:
        """The last position alone, (B, L, d) -> (B, 1, d), which attends to all. `allowed` (B, 1, 1, L)."""
        batch, length, dim = states.shape
        normed = self.attention_norm(states)
        weights, biases = self.qkv.weight, self.qkv.bias
        query = F.linear(normed[:, -1:], weights[:dim], biases[:dim])
        answers = F.linear(normed, weights[dim:], biases[dim:]).view(batch, length, 2, self.heads, dim // self.heads)
        query = query.view(batch, 1, self.heads, dim // self.heads).transpose(1, 2)
        key, value = answers.permute(2, 0, 3, 1, 4)
        return self._from(states[:, -1:], query, key, value, allowed)

    def _from(self, states: Tensor, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
        """The output for the states (B, Q, d) of `query` (B, h, Q, d / h); `allowed` (B, 1, Q, L)."""
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, dropout_p=self.dropout if self.training else 0.0
        )
        attended = attended.transpose(1, 2).reshape(states.shape)
        states = states + self.residual_dropout(self.output(attended))
        output: Tensor = states + self.residual_dropout(self.feed_forward(states))
        return output


class HistoryEncoder(nn.Module):
    """History (B, L) of item rows, 0 = padding on the left -> states (B, L, d); state j knows items 0..j."""

    causal: Tensor

    def __init__(self, length: int, dim: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(length, dim))
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("causal", torch.ones(length, length, dtype=torch.bool).tril(), persistent=False)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, history: Tensor, item_table: Tensor) -> Tensor:
        """`item_table` (N + 1, d)."""
        states, allowed = self._start(history, item_table)
        for block in self.blocks:
            states = block(states, allowed)
        normed: Tensor = self.norm(states)
        return normed

    def newest(self, history: Tensor, item_table: Tensor) -> Tensor:
        """The state of the last position alone, (B, d): the other positions of the last block are not used."""
        states, allowed = self._start(history, item_table)
        *others, last = self.blocks
        assert isinstance(last, Block)
        for block in others:
            states = block(states, allowed)
        normed: Tensor = self.norm(last.newest(states, allowed[:, :, -1:]))
        return normed[:, 0]

    def _start(self, history: Tensor, item_table: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, L, d) before the first block, and which position may look at which (B, 1, L, L)."""
        states = self.dropout(F.embedding(history, item_table) + self.positions)
        real = (history != PADDING_ROW)[:, None, None, :]
        # Each position also looks at itself: an empty history then has a state instead of a softmax over nothing.
        itself = torch.eye(history.shape[1], dtype=torch.bool, device=history.device)
        return states, (self.causal & real) | itself
