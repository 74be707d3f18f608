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

Say = Callable[[str], None]

# Requests that the exported graphs are compared with torch on.
PARITY_REQUESTS = 64


def load_dataset(
    scenario: Scenario, tables: Path, training_set: Path, language_model: LanguageModel, say: Say
) -> Dataset:
    """The training set of a scenario with the text vectors of its requests."""
    return dataset_over(scenario, _catalogues(scenario, tables), training_set, language_model, say)


def dataset_over(
    scenario: Scenario, catalogues: dict[str, Catalogue], training_set: Path, language_model: LanguageModel, say: Say
) -> Dataset:
    """`load_dataset` over given catalogues: those of a model that is there already."""

    def encode(texts: list[str]) -> Any:
        vectors, reused = language_model.vectors(texts, every(5, say, "texts encoded:"))
        say(f"request texts: {len(texts)}, {reused} of them from the cache")
        return vectors

    return Dataset(scenario, read_training_set(scenario, training_set), catalogues, encode)


def candidate_dataset(
    scenario: Scenario, tables: Path, training_set: Path, checkpoint: Path, bundle: Path | None, say: Say
) -> tuple[Dataset, LanguageModel]:
    """What a candidate is measured on, and its language model; the data set has the candidate's scenario.

    `bundle` is that of a candidate that updates a version: its rows are those of the bundle's catalogues, and its
    tasks those of the bundle, with the gates of `scenario`.
    """
    if bundle is None:
        language_model = language_model_of(checkpoint, scenario)
        return load_dataset(scenario, tables, training_set, language_model, say), language_model
    grown = Version(checkpoint, bundle)
    own = scenario_of(grown, scenario)
    language_model = language_model_of(checkpoint, own)
    return dataset_over(own, grown.catalogues(), training_set, language_model, say), language_model


def item_texts(dataset: Dataset) -> list[str]:
    """The texts (N,) of the catalogue's items, from row 1 on; none for a scenario without items."""
    items = dataset.catalogues.get(ITEMS)
    if items is None:
        return []
    return [item_text(dataset.scenario.text, items.record(row)) for row in range(1, len(items) + 1)]


def item_vectors(dataset: Dataset, language_model: LanguageModel, say: Say) -> torch.Tensor | None:
    """The text vectors (N, D) of the catalogue's items; None for a scenario without items."""
    texts = item_texts(dataset)
    if not texts:
        return None
    vectors, reused = language_model.vectors(texts, every(5, say, "item texts encoded:"))
    say(f"item texts: {len(texts)}, {reused} of them from the cache")
    return torch.from_numpy(vectors)


def parity_requests(scenario: Scenario, rows: pd.DataFrame) -> list[RequestFeatures]:
    """Some test requests out of a training set, a cold start, a query, and requests that name disliked items."""
    test = rows[(split_events(scenario, rows) == "test").to_numpy()].head(PARITY_REQUESTS)
    requests = requests_of(scenario, test)
    requests += [RequestFeatures(), RequestFeatures(query="something else", context=requests[0].context)]
    return requests + [replace(request, disliked=request.seen[-3:]) for request in requests[:3]]


def _catalogues(scenario: Scenario, tables: Path) -> dict[str, Catalogue]:
    return catalogues_of(scenario, read_tables(tables))
