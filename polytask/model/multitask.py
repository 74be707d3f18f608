"""The shared-encoder multi-task model: history and request text -> one state -> towers -> fusion -> heads."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polytask.model.fusion import ConcatFusion
from polytask.model.heads import RetrievalHead, build_head
from polytask.model.history_encoder import HistoryEncoder
from polytask.model.item_table import ItemTable, Standardise
from polytask.scenario.schema import Scenario
from polytask.tables import ITEMS, USERS


class MultiTaskModel(nn.Module):
    """All tasks of a scenario over one encoder. B batch, L history, D text dim, d model dim, N catalogue rows."""

    def __init__(self, scenario: Scenario, item_texts: Tensor, request_texts: Tensor, users: int) -> None:
        """`item_texts` (N + 1, D), row 0 padding; `request_texts` (n, D), a sample for the statistics."""
        super().__init__()
        sizes = scenario.model
        self.scenario = scenario
        self.item_table = ItemTable(item_texts, sizes.dim, sizes.id_dropout)
        self.user_table = nn.Embedding(users + 1, sizes.dim)
        self.history_encoder = HistoryEncoder(
            scenario.features.history_length, sizes.dim, sizes.layers, sizes.heads, sizes.dropout
        )
        self.text = nn.Sequential(
            Standardise(request_texts), nn.Dropout(sizes.dropout), nn.Linear(request_texts.shape[1], sizes.dim)
        )
        self.state_norm = nn.LayerNorm(sizes.dim)
        self.fusion = ConcatFusion([task.name for task in scenario.tasks], sizes.dim, sizes.dropout)
        rows = {ITEMS: len(item_texts) - 1, USERS: users, None: 0}
        self.heads = nn.ModuleDict(
            {task.name: build_head(task, self.fusion.dim, sizes.dim, rows[task.catalogue]) for task in scenario.tasks}
        )
        nn.init.normal_(self.user_table.weight, std=0.02)

    def catalogues(self) -> dict[str, Tensor]:
        """The vectors of both catalogues: items (N + 1, d), users (U + 1, d)."""
        return {ITEMS: self.item_table(), USERS: self.user_table.weight}

    def histories(self, history: Tensor, catalogues: Mapping[str, Tensor]) -> Tensor:
        """History (B, L) -> states (B, L, d) before the request's text is known."""
        states: Tensor = self.history_encoder(history, catalogues[ITEMS])
        return states

    def logits(self, states: Tensor, text: Tensor, catalogues: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Late fusion: states (P, d) of some positions and their request texts (P, D) -> logits (P, ...) per task."""
        fused = self.fusion(self.state_norm(states + self.text(text)))
        logits: dict[str, Tensor] = {}
        for task in self.scenario.tasks:
            head = self.heads[task.name]
            if isinstance(head, RetrievalHead):
                assert task.catalogue is not None
                logits[task.name] = head(fused, catalogues[task.catalogue])
            else:
                logits[task.name] = head(fused)
        return logits

    @torch.inference_mode()
    def score(self, history: Tensor, text: Tensor) -> dict[str, Tensor]:
        """Logits (B, ...) per task for whole requests: history (B, L), text (B, D). Sets evaluation mode."""
        self.eval()
        catalogues = self.catalogues()
        return self.logits(self.histories(history, catalogues)[:, -1], text, catalogues)
