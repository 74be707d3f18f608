"""The multi-task model as it is served: masking, top-k and outputs inside the graph, one tensor group per task."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polytask.contract.tensors import MASKED_SCORE
from polytask.data.catalogue import Catalogue
from polytask.export.disliked_items import DislikedItems
from polytask.model.cold_start import below_the_first
from polytask.model.multitask import Catalogues, MultiTaskModel
from polytask.model.transition import TransitionTables
from polytask.scenario.names import ITEMS, USERS
from polytask.tasks.learning import learning_of


class ServingGraph(nn.Module):
    """`text_vector` (B, D), `history` (B, L), `seen` (B, S), `user` (B, 1), `disliked` (B, M), `allowed` (B, W)
    -> the outputs in order.

    It takes those of the inputs that the contract names, as keywords. Row numbers outside a catalogue count as padding:
    in a batch of many clients one bad number must not fail the rest.
    """

    items: Tensor
    users: Tensor
    sources: Tensor
    targets: Tensor
    new_items: Tensor

    def __init__(self, model: MultiTaskModel, items: Catalogue | None, new_items: Sequence[int] = ()) -> None:
        """`new_items`: rows of items that were added after training; they rank below the first of the others."""
        super().__init__()
        self.model = model.eval()
        with torch.no_grad():
            catalogues = model.catalogues()
        # The vectors of the catalogues are constants of the served graph.
        nobody = torch.zeros(1, model.scenario.model.dim)
        self.register_buffer("items", catalogues.vectors.get(ITEMS, nobody).detach().clone())
        self.register_buffer("users", catalogues.vectors.get(USERS, nobody).detach().clone())
        self.register_buffer("sources", catalogues.transitions.sources.detach().clone())
        self.register_buffer("targets", catalogues.transitions.targets.detach().clone())
        self.has_new_items = len(new_items) > 0
        self.register_buffer("new_items", torch.zeros(len(self.items), dtype=torch.bool))
        self.new_items[list(new_items)] = True
        self.disliked_items = DislikedItems(model.scenario, self.items, items) if items is not None else None

    def forward(
        self,
        text_vector: Tensor,
        history: Tensor | None = None,
        seen: Tensor | None = None,
        user: Tensor | None = None,
        disliked: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """See the class; scores are logits for retrieval and probabilities for classes."""
        vectors = {ITEMS: self.items, USERS: self.users}
        catalogues = Catalogues(vectors, TransitionTables(self.sources, self.targets))
        if history is not None:
            history = _known_rows(history, self.items)
        excluded = {
            name: _known_rows(rows, vectors[name]) for name, rows in ((ITEMS, seen), (USERS, user)) if rows is not None
        }
        histories = self.model.newest(history, catalogues)
        logits = self.model.logits(histories, text_vector, catalogues)
        if disliked is not None and self.disliked_items is not None:
            disliked = _known_rows(disliked, self.items)
            excluded[ITEMS] = torch.cat([excluded[ITEMS], disliked], dim=1)
            for task in self.model.scenario.tasks:
                logits[task.name] = self.disliked_items(task, logits[task.name], disliked, self.items)
        outputs: list[Tensor] = []
        for task in self.model.scenario.tasks:
            scores = logits[task.name]
            if task.catalogue is not None:
                new = self.new_items if self.has_new_items and task.catalogue == ITEMS else None
                scores = _masked(scores, excluded[task.catalogue], new)
                if allowed is not None and task.catalogue == ITEMS:
                    # After the rule for new items: a filter takes rows out of the list and changes no score.
                    scores = torch.where(allowed, scores, MASKED_SCORE)
            outputs += learning_of(task).predict(task, scores)
        return (*outputs, text_vector.clone())


def _known_rows(rows: Tensor, catalogue: Tensor) -> Tensor:
    """Rows that the catalogue does not have become the padding row 0."""
    return torch.where((rows >= 0) & (rows < catalogue.shape[0]), rows, torch.zeros_like(rows))


def _masked(logits: Tensor, excluded: Tensor, new: Tensor | None) -> Tensor:
    """Logits (B, N + 1) with `MASKED_SCORE` at padding and at excluded rows (B, S).

    `new` (N + 1,) bool: rows that rank below the first of the others.
    """
    # Excluded rows are padded with 0, but a list that fills all S places has no padding left: mask row 0 on its own.
    padding = torch.zeros(logits.shape[0], 1, dtype=torch.int64)
    masked = logits.scatter(1, torch.cat([excluded, padding], dim=1), MASKED_SCORE)
    return masked if new is None else below_the_first(masked, new)
