"""Variants of the model that show what its parts bring ("ablations"): other text vectors, or a single task.

They are trainings of the same code: only what it is given differs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polytask.data.dataset import Dataset, with_scenario, with_vectors
from polytask.scenario.schema import Scenario

ID_ONLY = "id_only"
RANDOM_VECTORS = "random_vectors"
SINGLE_TASK = "single_task"


@dataclass(frozen=True)
class Variant:
    """A training in another guise. `name` is unique, `group` is what the report calls it."""

    name: str
    group: str
    meaning: str
    dataset: Dataset
    item_vectors: Tensor | None


def with_seed(scenario: Scenario, seed: int) -> Scenario:
    """The scenario, trained with another seed."""
    return scenario.model_copy(update={"training": scenario.training.model_copy(update={"seed": seed})})


def variants_of(dataset: Dataset, item_vectors: Tensor | None, seed: int) -> Iterator[Variant]:
    """The variants of a data set, trained with `seed`; `item_vectors` (N, D) without the padding row.

    Without items there is no id to learn, and with one task there is nothing to share.
    """
    seeded = with_scenario(dataset, with_seed(dataset.scenario, seed))
    if item_vectors is not None:
        yield Variant(
            ID_ONLY,
            ID_ONLY,
            "all text vectors are zero: only ids are learned, as in SASRec",
            with_vectors(seeded, np.zeros_like(dataset.text_vectors)),
            torch.zeros_like(item_vectors),
        )
    random = np.random.default_rng(seed)
    texts = random.standard_normal(dataset.text_vectors.shape, dtype=np.float32)
    items = None if item_vectors is None else torch.from_numpy(random.standard_normal(item_vectors.shape, np.float32))
    yield Variant(
        RANDOM_VECTORS,
        RANDOM_VECTORS,
        "a random vector for each distinct text in place of the language model's",
        with_vectors(seeded, texts),
        items,
    )
    if len(dataset.scenario.tasks) > 1:
        for task in dataset.scenario.tasks:
            yield Variant(
                f"{SINGLE_TASK}-{task.name}",
                SINGLE_TASK,
                "a model of its own for each task",
                with_scenario(seeded, seeded.scenario.model_copy(update={"tasks": (task,)})),
                item_vectors,
            )
