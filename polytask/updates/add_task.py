"""Add a task to a trained model: a new tower and a new head are trained, nothing else moves.

The shared encoder is frozen, so its states are computed once and kept: an epoch is then a pass over short vectors.
"""

import time
from collections.abc import Callable
from hashlib import sha256

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from polytask.data.dataset import Dataset
from polytask.errors import DataError, ScenarioError
from polytask.model.multitask import MultiTaskModel
from polytask.model.task_modules import module_name
from polytask.scenario.load import mistakes
from polytask.scenario.schema import Scenario, Task
from polytask.training.checkpoint import empty_model
from polytask.training.loop import Epoch, set_seed, start_head
from polytask.training.one_cycle import OneCycleAdamW
from polytask.training.task_losses import TaskLosses
from polytask.updates.frozen import FrozenStates, frozen_states

# Every pass cuts the histories at other positions and uses other template queries.
PASSES = 2
EPOCHS = 6
POSITIONS_PER_BATCH = 512
LEARNING_RATE = 2e-3


def scenario_with(scenario: Scenario, task: Task) -> Scenario:
    """The scenario with `task` at the end of its list, marked as added. Raises ScenarioError where it does not fit."""
    names = [known.name for known in scenario.tasks]
    if task.name in names:
        raise ScenarioError(f"task {task.name!r} is there already; allowed: any name but {', '.join(names)}")
    tasks = [*(known.model_dump() for known in scenario.tasks), {**task.model_dump(), "added": True}]
    try:
        return Scenario.model_validate({**scenario.model_dump(), "tasks": tasks})
    except ValidationError as error:
        raise ScenarioError(
            f"task {task.name!r} does not fit scenario {scenario.name!r}: {mistakes(error, Scenario)}"
        ) from error


def updated_model(model: MultiTaskModel, scenario: Scenario) -> MultiTaskModel:
    """A model for `scenario` (see `scenario_with`) with all weights of `model` and a fresh tower and head."""
    weights = model.state_dict()
    updated = empty_model(scenario, weights)
    fresh = updated.load_state_dict(weights, strict=False)
    name = scenario.tasks[-1].name
    expected = (f"added_towers.{module_name(name)}.", f"heads.{module_name(name)}.")
    others = [*(key for key in fresh.missing_keys if not key.startswith(expected)), *fresh.unexpected_keys]
    if others:
        # For example a task that lists users where no other does: the vectors it needs were never trained.
        raise ScenarioError(f"task {name!r} needs weights that the trained model does not have: {', '.join(others)}")
    return updated.eval()


def add_task(
    model: MultiTaskModel, dataset: Dataset, on_epoch: Callable[[Epoch], None] | None = None, epochs: int = EPOCHS
) -> tuple[MultiTaskModel, list[Epoch]]:
    """Train the last task of the data set's scenario on top of `model`, which stays as it is.

    Returns the updated model, in evaluation mode, and the loss history of the new task. Raises DataError if no training
    event has a label.
    """
    settings = dataset.scenario.training
    set_seed(settings.seed, settings.threads)
    task = dataset.scenario.tasks[-1]
    labelled = dataset.labels[task.name].mask & dataset.train
    if not labelled.any():
        raise DataError(f"task {task.name!r}: no training event has a label")
    updated = updated_model(model, dataset.scenario).requires_grad_(False)
    new = nn.ModuleList([updated.added_towers[task.name], updated.heads[task.name]]).requires_grad_(True)
    start_head(updated, dataset, task.name)
    frozen = frozen_states(updated, dataset, labelled, PASSES)
    history = _fit(updated, new, task, dataset, frozen, epochs, on_epoch)
    updated.requires_grad_(True)
    return updated.eval(), history


def _fit(
    updated: MultiTaskModel,
    new: nn.ModuleList,
    task: Task,
    dataset: Dataset,
    frozen: FrozenStates,
    epochs: int,
    on_epoch: Callable[[Epoch], None] | None,
) -> list[Epoch]:
    """AdamW with a one-cycle schedule over `new` alone; everything else is in evaluation mode and without gradients."""
    settings = dataset.scenario.training
    random = np.random.default_rng(settings.seed)
    parameters = list(new.parameters())
    batches = -(-len(frozen.events) // POSITIONS_PER_BATCH)
    groups = [{"params": parameters}]
    optimizer = OneCycleAdamW(groups, [LEARNING_RATE], settings.weight_decay, epochs * batches, parameters)
    batch_losses = TaskLosses(dataset)
    catalogues = updated.catalogues()
    history: list[Epoch] = []
    new.train()
    for number in range(1, epochs + 1):
        started, total = time.monotonic(), 0.0
        for chosen in np.array_split(random.permutation(len(frozen.events)), batches):
            text = batch_losses.text_vectors[torch.from_numpy(frozen.texts[chosen])]
            histories = frozen.histories.at(torch.from_numpy(chosen))
            logits = updated.logits(histories, text, catalogues, [task])[task.name]
            loss = batch_losses.task_loss(task, logits, frozen.events[chosen])
            optimizer.update(loss)
            total += float(loss.detach())
        history.append(Epoch(number, {task.name: total / batches}, {task.name: 1.0}, time.monotonic() - started))
        if on_epoch is not None:
            on_epoch(history[-1])
    return history


def weights_sha256(model: MultiTaskModel, names: list[str] | None = None) -> str:
    """Hex SHA-256 over the named weights (all by default), their names and bytes: equal for equal bits."""
    weights = model.state_dict()
    digest = sha256()
    for name in sorted(weights if names is None else names):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
