"""Refresh the catalogue of items of a trained model: new items take part by their text alone, no weight moves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from polytask.data.catalogue import Catalogue
from polytask.model.cold_start import ColdStart
from polytask.model.multitask import MultiTaskModel
from polytask.text.templates import item_text
from polytask.updates.catalogues import changed_texts, extended
from polytask.updates.rows import with_rows, with_texts

Encode = Callable[[list[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Refreshed:
    """A model over a newer catalogue, and what happened: rows appended, texts changed, entries gone from the table."""

    model: MultiTaskModel
    items: Catalogue
    new_rows: NDArray[np.int64]
    changed_rows: NDArray[np.int64]
    missing: int


def refresh(
    model: MultiTaskModel, items: Catalogue, table: pd.DataFrame, encode: Encode, cold: ColdStart | None = None
) -> Refreshed:
    """The model with the rows of `table` that `items` does not have; `encode` gives the text vectors (n, D).

    `cold` initialises new items. A known item keeps its row and its residual. Where its text has changed, the
    vector of its text changes with it.
    """
    scenario = model.scenario
    newer = extended(scenario, items, table)
    changed = changed_texts(scenario, items, newer.catalogue)

    def vectors(rows: NDArray[np.int64]) -> torch.Tensor:
        texts = [item_text(scenario.text, newer.catalogue.record(int(row))) for row in rows]
        return torch.from_numpy(encode(texts))

    if len(changed):
        model = with_texts(model, torch.from_numpy(changed), vectors(changed))
    if len(newer.new_rows):
        model = with_rows(model, vectors(newer.new_rows), cold=cold)
    return Refreshed(model, newer.catalogue, newer.new_rows, changed, newer.missing)
