"""The states of the frozen shared encoder of a model at every training event, computed once and kept."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.data.dataset import Dataset
from polytask.model.multitask import NO_HISTORY, Histories, MultiTaskModel
from polytask.training.windows import WindowSampler


@dataclass(frozen=True)
class FrozenStates:
    """The shared encoder's states at P positions, the events (P,) and their texts (P,).

    `texts` are rows of the data set's text vectors, which are added late.
    """

    histories: Histories
    events: NDArray[np.int64]
    texts: NDArray[np.int64]


@torch.no_grad()
def frozen_states(model: MultiTaskModel, dataset: Dataset, wanted: NDArray[np.bool_], passes: int = 1) -> FrozenStates:
    """The states before each of the `wanted` (n,) training events, `passes` times with histories cut elsewhere."""
    random = np.random.default_rng(dataset.scenario.training.seed)
    plan = WindowSampler(dataset, passes, random)
    catalogues = model.eval().catalogues()
    parts: list[Histories] = []
    events, texts = [], []
    for number in range(passes):
        for windows in plan.epoch(number, random):
            kept = (windows.events >= 0) & wanted[windows.events]
            encoded = model.histories(torch.from_numpy(windows.inputs), catalogues)  # the same everywhere without items
            parts.append(encoded.at(torch.from_numpy(kept)))
            events.append(windows.events[kept])
            texts.append(windows.texts[kept])
    histories = NO_HISTORY
    if dataset.scenario.has_items:
        histories = Histories(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
    return FrozenStates(histories, np.concatenate(events), np.concatenate(texts))
