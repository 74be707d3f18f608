"""The small data set with random text vectors of 12 numbers: training without a language model."""

import numpy as np
import torch

from polytask.data.dataset import Dataset
from tests.small import training_frame

ITEM_VECTORS = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32))


def dataset_with(small_dataset, tables, **settings):
    """The small data set with other training settings."""
    # One thread: on shared cores, threads that wait for each other cost more than such small steps gain.
    training = small_dataset.scenario.training.model_copy(update={"threads": 1, **settings})
    scenario = small_dataset.scenario.model_copy(update={"training": training})
    random = np.random.default_rng(1)
    return Dataset(
        scenario,
        training_frame(scenario, tables),
        small_dataset.catalogues,
        lambda texts: random.normal(size=(len(texts), 12)).astype(np.float32),
    )
