"""Go on training all tasks of a model on newer data: known rows keep their weights, new ones start fresh."""

from collections.abc import Callable

import torch

from polytask.data.dataset import Dataset
from polytask.model.cold_start import ColdStart
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.names import USERS
from polytask.scenario.schema import Scenario
from polytask.training.loop import Epoch, fit, set_seed
from polytask.updates.fine_tuning_defaults import EPOCHS, LEARNING_RATE
from polytask.updates.rows import with_rows


def updated_for(
    model: MultiTaskModel, dataset: Dataset, item_vectors: torch.Tensor | None, cold: ColdStart | None = None
) -> MultiTaskModel:
    """The model with rows for the entries that the data set's catalogues have beyond its own.

    `item_vectors` (N, D) are the text vectors of all items of the data set, old ones first; `cold` initialises new
    ones.
    """
    new_items = None
    if item_vectors is not None:
        known = len(model.item_table.text_vectors) - 1
        new_items = item_vectors[known:]
    known_users = len(model.user_table.weight) - 1 if model.scenario.lists_users else 0
    return with_rows(model, new_items, max(0, len(dataset.catalogues[USERS]) - known_users), cold)


def fine_tune(model: MultiTaskModel, dataset: Dataset, on_epoch: Callable[[Epoch], None] | None = None) -> list[Epoch]:
    """Train all of `model`, whose rows are those of the data set (see `updated_for`), in place. Returns its losses.

    The settings are those of the data set's scenario; see `gentle`.
    """
    settings = dataset.scenario.training
    set_seed(settings.seed, settings.threads)
    return fit(model, dataset, list(model.parameters()), on_epoch)


def gentle(scenario: Scenario, epochs: int = EPOCHS, learning_rate: float = LEARNING_RATE) -> Scenario:
    """The scenario with fewer epochs and a lower learning rate, for a model that knows most of it already."""
    training = scenario.training.model_copy(update={"epochs": epochs, "learning_rate": learning_rate})
    return scenario.model_copy(update={"training": training})
