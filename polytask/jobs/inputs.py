"""What the jobs work on: a scenario's data set with its text vectors, and requests to compare graphs on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from polytask.data.catalogue import Catalogue, catalogues_of
from polytask.data.dataset import Dataset
from polytask.data.request import RequestFeatures, requests_of
from polytask.data.splits import split_events
from polytask.data.tables import read_tables
from polytask.data.training_set import read_training_set
from polytask.progress import every
from polytask.registry.trained import Version, scenario_of
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Scenario
from polytask.text.language_model import LanguageModel
from polytask.text.templates import item_text
from polytask.training.checkpoint import language_model_of

Log = Callable[[str], None]

# Requests that the exported graphs are compared with torch on.
PARITY_REQUESTS = 64


def load_dataset(
    scenario: Scenario, tables: Path, training_set: Path, language_model: LanguageModel, log: Log
) -> Dataset:
    """Read a training set and encode the texts of its requests.

    Args:
        scenario: The scenario.
        tables: Folder of the clean tables that ingest wrote.
        training_set: Training set, one row per event.
        language_model: The language model that encodes the texts.
        log: Called with each line of progress.

    Returns:
        The events (n,), ordered by user and time, and the vectors (T, D) float32 of their T distinct texts.
    """
    return dataset_over(scenario, _catalogues(scenario, tables), training_set, language_model, log)


def dataset_over(
    scenario: Scenario, catalogues: dict[str, Catalogue], training_set: Path, language_model: LanguageModel, log: Log
) -> Dataset:
    """`load_dataset` over given catalogues: those of a model that is there already."""

    def encode(texts: list[str]) -> Any:
        vectors, reused = language_model.vectors(texts, every(5, log, "texts encoded:"))
        log(f"request texts: {len(texts)}, {reused} of them from the cache")
        return vectors

    return Dataset(scenario, read_training_set(scenario, training_set), catalogues, encode)


def candidate_dataset(
    scenario: Scenario, tables: Path, training_set: Path, checkpoint: Path, bundle: Path | None, log: Log
) -> tuple[Dataset, LanguageModel]:
    """Load what a candidate is measured on.

    Args:
        scenario: The scenario, whose gates count.
        tables: Folder of the clean tables that ingest wrote.
        training_set: Training set, one row per event.
        checkpoint: Folder of the candidate's checkpoint.
        bundle: Bundle of a candidate that updates a version: catalogues and tasks are then those of the bundle. None
            for
            a candidate that was trained from scratch.
        log: Called with each line of progress.

    Returns:
        The data set, which has the candidate's scenario, and the language model.
    """
    if bundle is None:
        language_model = language_model_of(checkpoint, scenario)
        return load_dataset(scenario, tables, training_set, language_model, log), language_model
    updated = Version(checkpoint, bundle)
    own = scenario_of(updated, scenario)
    language_model = language_model_of(checkpoint, own)
    return dataset_over(own, updated.catalogues(), training_set, language_model, log), language_model


def item_texts(dataset: Dataset) -> list[str]:
    """The texts (N,) of the catalogue's items, from row 1 on; none for a scenario without items."""
    items = dataset.catalogues.get(ITEMS)
    if items is None:
        return []
    return [item_text(dataset.scenario.text, items.record(row)) for row in range(1, len(items) + 1)]


def item_vectors(dataset: Dataset, language_model: LanguageModel, log: Log) -> torch.Tensor | None:
    """The text vectors (N, D) of the catalogue's items; None for a scenario without items."""
    texts = item_texts(dataset)
    if not texts:
        return None
    vectors, reused = language_model.vectors(texts, every(5, log, "item texts encoded:"))
    log(f"item texts: {len(texts)}, {reused} of them from the cache")
    return torch.from_numpy(vectors)


def parity_requests(scenario: Scenario, rows: pd.DataFrame) -> list[RequestFeatures]:
    """Some test requests out of a training set, a cold start, a query, and requests that name disliked items."""
    test = rows[(split_events(scenario, rows) == "test").to_numpy()].head(PARITY_REQUESTS)
    requests = requests_of(scenario, test)
    requests += [RequestFeatures(), RequestFeatures(query="something else", context=requests[0].context)]
    return requests + [replace(request, disliked=request.seen[-3:]) for request in requests[:3]]


def _catalogues(scenario: Scenario, tables: Path) -> dict[str, Catalogue]:
    return catalogues_of(scenario, read_tables(tables))
