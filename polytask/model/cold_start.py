"""Cold items, which no training event has: their residual and bias are predicted from their text.

A new item has no learned residual and no learned bias. `ColdStart` predicts both from the text's vector. It is learned
on a trained model that is frozen: in each step a random share of the known items plays new ones, among all others, so
that its predictions learn to compete with learned rows. What is left of the difference is calibrated on items and
requests that it has not learned from: `offset` is added to the scores of new items, as high as the loss of the others
allows. In a list, new items rank below the first `WARM_FIRST` others at the earliest.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

from polytask.contract.tensors import MASKED_SCORE
from polytask.model.item_table import ItemTable
from polytask.model.multitask import Catalogues, Histories, MultiTaskModel
from polytask.model.transition import TransitionTables
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Scenario, Task
from polytask.storage.atomic import atomic_file
from polytask.storage.safetensors_file import save_tensors
from polytask.tasks.kind import kind_of

FILE = "cold_start.safetensors"
WARM_FIRST = 5
LOWERED_BY = 1e-2
HIDDEN = 128
DROPOUT = 0.4


@dataclass(frozen=True)
class Start:
    """What n items start with: residuals of their item vectors and transition targets (n, d), and biases (n,)."""

    items: Tensor
    targets: Tensor
    bias: Tensor


class ColdStart(nn.Module):
    """Standardised text vectors (n, D) -> what the items start with; an untrained one predicts zeros."""

    offset: Tensor

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.hidden = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(text_dim, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT))
        self.output = nn.Linear(HIDDEN, 2 * dim + 1)
        self.linear = nn.Linear(text_dim, 2 * dim)
        self.register_buffer("offset", torch.zeros(()))
        for layer in (self.output, self.linear):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, text_vectors: Tensor) -> Start:
        """See the class."""
        both = self.output(self.hidden(text_vectors))
        residuals = both[:, : 2 * self.dim] + self.linear(text_vectors)
        return Start(residuals[:, : self.dim], residuals[:, self.dim :], both[:, -1] + self.offset)


def next_item_task(scenario: Scenario) -> Task | None:
    """Return the task whose list gets the new items: the first that predicts the item of the next event."""
    return next((task for task in scenario.tasks if kind_of(task).follows_items), None)


def started_logits(
    model: MultiTaskModel,
    cold: ColdStart,
    rows: Tensor,
    histories: Histories,
    text: Tensor,
    catalogues: Catalogues,
    task: Task,
) -> Tensor:
    """Logits (P, N + 1) of the next-item task as if the items `rows` (n,) were new, known by their texts alone."""
    start = cold(model.item_table.text_vectors[rows])

    def replaced(table: ItemTable, vectors: Tensor, residual: Tensor) -> Tensor:
        return vectors.index_copy(0, rows, table.projection(table.text_vectors[rows]) + residual)

    vectors = {
        **catalogues.vectors,
        ITEMS: replaced(model.item_table, catalogues.vectors[ITEMS], start.items),
    }
    targets = replaced(model.transition.targets, catalogues.transitions.targets, start.targets)
    changed = Catalogues(vectors, TransitionTables(catalogues.transitions.sources, targets))
    logits = model.logits(histories, text, changed, [task])[task.name]
    known_bias: Tensor = model.heads[task.name].bias  # type: ignore[assignment]
    return logits.index_add(1, rows, (start.bias - known_bias[rows]).expand(len(logits), -1))


def below_the_first(logits: Tensor, new: Tensor, first: int = WARM_FIRST) -> Tensor:
    """Lower new items that score above the `first`-th best of the others to just below it, in their order.

    logits (B, N + 1) with what may not be listed far below all others; new (N + 1,) bool.
    """
    others = logits.masked_fill(new, MASKED_SCORE)
    bar = others.topk(min(first, logits.shape[1]), dim=1).values[:, -1:]
    above = (logits - bar).clamp(min=0.0)
    # Between the bar and a little less, the higher the nearer: float32 keeps them distinct at any usual score.
    lowered = bar - LOWERED_BY / (1.0 + above)
    # Where too few others may be listed at all, there is no bar.
    above_bar = new & (logits > bar - LOWERED_BY) & (bar > MASKED_SCORE / 2)
    return torch.where(above_bar, torch.minimum(lowered, logits), logits)


def save_cold_start(cold: ColdStart, new_rows: NDArray[np.int64], checkpoint: Path) -> None:
    """Write what new items start with, and which rows are new ones, into the folder of a checkpoint."""
    content = {name: tensor.contiguous() for name, tensor in cold.state_dict().items()}
    content["new_rows"] = torch.from_numpy(new_rows.astype(np.int64))
    with atomic_file(checkpoint / FILE) as temporary:
        save_tensors(content, temporary)


def load_cold_start(checkpoint: Path) -> tuple[ColdStart | None, NDArray[np.int64]]:
    """What `save_cold_start` wrote; (None, no rows) for a model whose new items are not calibrated."""
    if not (checkpoint / FILE).is_file():
        return None, np.zeros(0, dtype=np.int64)
    with safe_open(checkpoint / FILE, framework="pt") as file:
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    new_rows: NDArray[np.int64] = content.pop("new_rows").numpy()
    text_dim = content["linear.weight"].shape[1]
    cold = ColdStart(text_dim, len(content["linear.weight"]) // 2)
    cold.load_state_dict(content)
    return cold.eval(), new_rows
