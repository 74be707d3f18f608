"""Learn what new items start with, on a trained model that is frozen (`polytask.model.cold_start`)."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.data.catalogue import PADDING_ROW
from polytask.data.dataset import Dataset
from polytask.model.cold_start import ColdStart, next_item_task, started_logits
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Task
from polytask.training.one_cycle import OneCycleAdamW
from polytask.training.task_losses import TaskLosses
from polytask.updates.frozen import FrozenStates, frozen_states

STEPS = 600


# So often at most is a position seen: a small data set takes fewer steps.
PASSES = 30


POSITIONS_PER_STEP = 512


LEARNING_RATE = 2e-3


WEIGHT_DECAY = 0.05


# Of the known items: so many play new ones in a step, and so many are kept from learning, to calibrate with.
PLAYING = 0.3


KEPT = 0.1


def learn_cold_start(
    model: MultiTaskModel, dataset: Dataset, steps: int = STEPS, on_step: Callable[[int], None] | None = None
) -> tuple[ColdStart, NDArray[np.int64]]:
    """Learn from a trained model, which stays as it is. Returns also the item rows (n,) that were kept from learning.

    `offset` is zero yet: see `polytask.updates.cold_calibration`.
    """
    task = next_item_task(dataset.scenario)
    assert task is not None, "the scenario has no list that new items could join"
    settings = dataset.scenario.training
    torch.manual_seed(settings.seed)
    random = np.random.default_rng(settings.seed)
    known = random.permutation(np.unique(dataset.item_rows[dataset.train]))
    known = known[known != PADDING_ROW]
    kept, playing = np.sort(known[: int(KEPT * len(known))]), known[int(KEPT * len(known)) :]
    wanted = dataset.train & dataset.labels[task.name].mask & ~np.isin(dataset.item_rows, kept)
    frozen = frozen_states(model, dataset, wanted)
    cold = ColdStart(model.item_table.text_vectors.shape[1], dataset.scenario.model.dim)
    _fit(cold, model, dataset, task, frozen, playing, steps, random, on_step)
    return cold.eval(), kept


def _fit(
    cold: ColdStart,
    model: MultiTaskModel,
    dataset: Dataset,
    task: Task,
    frozen: FrozenStates,
    playing: NDArray[np.int64],
    steps: int,
    random: np.random.Generator,
    on_step: Callable[[int], None] | None,
) -> None:
    losses = TaskLosses(dataset)
    learnable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learnable:
        parameter.requires_grad_(False)
    catalogues = model.eval().catalogues()
    size = min(POSITIONS_PER_STEP, len(frozen.events))
    steps = min(steps, max(1, PASSES * len(frozen.events) // size))
    optimizer = OneCycleAdamW([{"params": list(cold.parameters())}], [LEARNING_RATE], WEIGHT_DECAY, steps)
    cold.train()
    for step in range(steps):
        chosen = random.choice(len(frozen.events), size, replace=False)
        rows = torch.from_numpy(random.choice(playing, max(1, int(PLAYING * len(playing))), replace=False))
        text = losses.text_vectors[torch.from_numpy(frozen.texts[chosen])]
        histories = frozen.histories.at(torch.from_numpy(chosen))
        logits = started_logits(model, cold, rows, histories, text, catalogues, task)
        loss = losses.task_loss(task, logits, frozen.events[chosen])
        optimizer.update(loss)
        if on_step is not None:
            on_step(step + 1)
    for parameter in learnable:
        parameter.requires_grad_(True)
