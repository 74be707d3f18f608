"""The shared-encoder multi-task model: history and request text -> one state -> towers -> fusion -> heads."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from polytask.model.fusion import Tower, build_fusion
from polytask.model.history_encoder import HistoryEncoder
from polytask.model.item_table import ItemTable, StandardScaler
from polytask.model.task_modules import TaskModules
from polytask.model.transition import MarkovHead, TransitionTables
from polytask.scenario.names import ITEMS, USERS
from polytask.scenario.schema import Scenario, Task
from polytask.tasks.learning import HeadInputs, HeadSizes, learning_of


class Catalogues(NamedTuple):
    """What the model knows about every catalogue row: item (N + 1, d) and user (U + 1, d) vectors, transitions."""

    vectors: Mapping[str, Tensor]
    transitions: TransitionTables


class Histories(NamedTuple):
    """Encoded histories before the request's text is known: state (..., d) and transition (..., r)."""

    state: Tensor
    transition: Tensor

    def at(self, position: Tensor) -> "Histories":
        """Some positions of all histories; no history is the same at all of them."""
        if self.state.ndim == 0:
            return self
        return Histories(self.state[position], self.transition[position])


# The history of a scenario without items: a state of zeros, and no transitions.
NO_HISTORY = Histories(torch.zeros(()), torch.zeros(()))
NO_TRANSITIONS = TransitionTables(torch.zeros(0), torch.zeros(0))


class MultiTaskModel(nn.Module):
    """All tasks of a scenario over one encoder. B batch, L history, D text dim, d model dim, N catalogue rows.

    Without items there is no item table and no history: the state is the text's alone. Users have vectors where a task
    lists them.
    """

    item_table: ItemTable
    transition: MarkovHead
    transition_state: nn.Linear
    history_encoder: HistoryEncoder
    user_table: nn.Embedding

    def __init__(self, scenario: Scenario, item_texts: Tensor | None, request_texts: Tensor, users: int) -> None:
        """`item_texts` (N + 1, D), row 0 padding, None without items; `request_texts` (n, D) for the statistics."""
        super().__init__()
        sizes = scenario.model
        self.scenario = scenario
        if item_texts is not None:
            self.item_table = ItemTable(item_texts, sizes.dim, sizes.id_dropout)
            self.transition = MarkovHead(item_texts, sizes.dim, sizes.id_dropout, sizes.dropout)
            self.transition_state = nn.Linear(sizes.dim, sizes.dim)
        if scenario.lists_users:
            self.user_table = nn.Embedding(users + 1, sizes.dim)
        if item_texts is not None:
            self.history_encoder = HistoryEncoder(
                scenario.features.history_length, sizes.dim, sizes.layers, sizes.heads, sizes.dropout
            )
        self.text = nn.Sequential(
            StandardScaler(request_texts), nn.Dropout(sizes.dropout), nn.Linear(request_texts.shape[1], sizes.dim)
        )
        self.state_norm = nn.LayerNorm(sizes.dim)
        together = [task.name for task in scenario.tasks if not task.added]
        self.fusion = build_fusion(sizes, together)
        self.added_towers = TaskModules(
            {task.name: Tower(sizes.dim, sizes.dropout) for task in scenario.tasks if task.added}
        )
        widths = {False: self.fusion.task_dim, True: self.fusion.shared_dim + sizes.dim}
        rows = {ITEMS: 0 if item_texts is None else len(item_texts) - 1, USERS: users, None: 0}
        self.heads = TaskModules(
            {
                task.name: learning_of(task).head(
                    task,
                    HeadSizes(widths[task.added], sizes.dim, rows[task.catalogue], scenario.label_bounds(task)),
                )
                for task in scenario.tasks
            }
        )
        if scenario.lists_users:
            nn.init.normal_(self.user_table.weight, std=0.02)

    def catalogues(self) -> Catalogues:
        """All that depends on the catalogues alone: computed once per training step, constant when serving."""
        users = {USERS: self.user_table.weight} if self.scenario.lists_users else {}
        if not self.scenario.has_items:
            return Catalogues(users, NO_TRANSITIONS)
        return Catalogues({ITEMS: self.item_table(), **users}, self.transition.tables())

    def histories(self, history: Tensor | None, catalogues: Catalogues) -> Histories:
        """History (B, L) -> encoded (B, L, ...) before the request's text is known. Without items nothing is read."""
        if history is None or not self.scenario.has_items:
            return NO_HISTORY
        transition = self.transition(history, catalogues.transitions)
        # Every task reads the transitions of the last items, not only the one that predicts the next item.
        state = self.history_encoder(history, catalogues.vectors[ITEMS]) + self.transition_state(transition)
        return Histories(state, transition)

    def newest(self, history: Tensor | None, catalogues: Catalogues) -> Histories:
        """As `histories`, of the last position alone (B, ...), which is sufficient for a prediction."""
        if history is None or not self.scenario.has_items:
            return NO_HISTORY
        transition = self.transition.newest(history, catalogues.transitions)
        state = self.history_encoder.newest(history, catalogues.vectors[ITEMS]) + self.transition_state(transition)
        return Histories(state, transition)

    def logits(
        self, histories: Histories, text: Tensor, catalogues: Catalogues, tasks: Sequence[Task] | None = None
    ) -> dict[str, Tensor]:
        """Late fusion: P positions of some histories and their request texts (P, D) -> logits (P, ...) per task.

        The outputs are those of `tasks`, all tasks of the scenario by default.
        """
        state = self.state_norm(histories.state + self.text(text))
        shared = self.fusion.shared(state)
        fused = self.fusion.of_tasks(state, shared)
        logits: dict[str, Tensor] = {}
        for task in self.scenario.tasks if tasks is None else tasks:
            head = self.heads[task.name]
            # In addition to the shared part, an added task reads a tower of its own.
            view = torch.cat([shared, self.added_towers[task.name](state)], dim=-1) if task.added else fused[task.name]
            inputs = HeadInputs(view, catalogues.vectors, histories.transition, catalogues.transitions.targets)
            logits[task.name] = learning_of(task).logits(task, head, inputs)
        return logits

    @torch.inference_mode()
    def score(self, history: Tensor | None, text: Tensor) -> dict[str, Tensor]:
        """Logits (B, ...) per task for whole requests: history (B, L), text (B, D). Sets evaluation mode."""
        self.eval()
        catalogues = self.catalogues()
        return self.logits(self.newest(history, catalogues), text, catalogues)
