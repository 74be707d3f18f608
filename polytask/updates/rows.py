"""Append rows to the catalogues of a trained model; every row that is there keeps its number and its weights."""

import torch
from torch import Tensor

from polytask.data.catalogue import PADDING_ROW
from polytask.model.cold_start import ColdStart, next_item_task
from polytask.model.item_table import ItemTable
from polytask.model.multitask import MultiTaskModel
from polytask.model.task_modules import module_name
from polytask.scenario.names import ITEMS, USERS
from polytask.scenario.schema import Scenario
from polytask.training.checkpoint import empty_model

FRESH_STD = 0.02


def with_rows(
    model: MultiTaskModel, item_texts: Tensor | None = None, users: int = 0, cold: ColdStart | None = None
) -> MultiTaskModel:
    """The model with items appended, known by the text vectors (n, D) alone, and with `users` more users.

    Text vectors are standardised with the statistics of training. An appended item starts with the prediction of
    `cold`; without it, with no residual. An appended user starts as in a new model. The bias of an appended row is
    otherwise the mean of the existing ones.
    """
    weights = dict(model.state_dict())
    more = {ITEMS: 0 if item_texts is None else len(item_texts), USERS: users if model.scenario.lists_users else 0}
    if item_texts is not None and len(item_texts):
        for name, table in model.named_modules():
            if isinstance(table, ItemTable):
                _append(weights, f"{name}.text_vectors", table.standardise(item_texts))
                _append(weights, f"{name}.residual.weight", torch.zeros(len(item_texts), table.residual.embedding_dim))
    if more[USERS]:
        generator = torch.Generator().manual_seed(model.scenario.training.seed)
        fresh = torch.randn(more[USERS], model.scenario.model.dim, generator=generator) * FRESH_STD
        _append(weights, "user_table.weight", fresh)
    for task in model.scenario.tasks:
        if task.catalogue is not None:
            name = f"heads.{module_name(task.name)}.bias"
            _append(weights, name, weights[name][PADDING_ROW + 1 :].mean().expand(more[task.catalogue]))
    if cold is not None and more[ITEMS]:
        _start(weights, model.scenario, cold, more[ITEMS])
    updated = empty_model(model.scenario, weights)
    updated.load_state_dict(weights)
    return updated.eval()


@torch.no_grad()
def _start(weights: dict[str, Tensor], scenario: Scenario, cold: ColdStart, count: int) -> None:
    task = next_item_task(scenario)
    assert task is not None
    start = cold(weights["item_table.text_vectors"][-count:])
    weights["item_table.residual.weight"][-count:] = start.items
    weights["transition.targets.residual.weight"][-count:] = start.targets
    weights[f"heads.{module_name(task.name)}.bias"][-count:] = start.bias


def with_texts(model: MultiTaskModel, rows: Tensor, item_texts: Tensor) -> MultiTaskModel:
    """The model with other text vectors (n, D) for some item rows (n,); their residuals stay."""
    weights = dict(model.state_dict())
    for name, table in model.named_modules():
        if isinstance(table, ItemTable):
            vectors = weights[f"{name}.text_vectors"].clone()
            vectors[rows] = table.standardise(item_texts)
            weights[f"{name}.text_vectors"] = vectors
    changed = empty_model(model.scenario, weights)
    changed.load_state_dict(weights)
    return changed.eval()


def _append(weights: dict[str, Tensor], name: str, rows: Tensor) -> None:
    weights[name] = torch.cat([weights[name], rows.to(weights[name])])
