"""The training set as arrays: per event its item, its place in the user's sequence, its request text and its split."""

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.data.labels import TaskLabels, event_labels
from polytask.data.queries import QueryTable
from polytask.data.request import RequestEncoder, RequestFeatures, requests_of
from polytask.data.splits import split_events
from polytask.scenario.names import EVENT_ID, ITEMS, USERS
from polytask.scenario.schema import Scenario
from polytask.text.templates import request_text

IntArray = NDArray[np.int64]
Encode = Callable[[list[str]], NDArray[np.float32]]


class Dataset:
    """Events ordered by user and time, with everything training and evaluation need to know about them.

    `texts` (n,) and `query_texts` (queries, contexts) are rows of `distinct_texts` (T,) and `text_vectors` (T, D).
    """

    def __init__(
        self, scenario: Scenario, training_set: pd.DataFrame, catalogues: dict[str, Catalogue], encode: Encode
    ) -> None:
        time = scenario.entities.interactions.timestamp
        self.scenario = scenario
        self.catalogues = catalogues
        users, items = catalogues[USERS], catalogues.get(ITEMS)
        self.events = training_set.sort_values([users.key, time, EVENT_ID]).reset_index(drop=True)
        self.split = split_events(scenario, self.events).to_numpy()
        self.train = self.split == "train"
        self.user_rows = users.rows(self.events[users.key])
        users_in_order = pd.factorize(self.events[users.key])[0]
        self.first_events = np.searchsorted(users_in_order, users_in_order)
        # Without items, every event is on the unknown one and follows nothing.
        self.item_rows = self.previous_rows = np.full(len(self.events), PADDING_ROW, dtype=np.int64)
        if items is not None:
            self.item_rows = items.rows(self.events[items.key])
            self.previous_rows = items.rows(_last(history) for history in self.events["history"])
        self.labels: dict[str, TaskLabels] = event_labels(scenario, self.events, self.train, catalogues)
        self.queries = QueryTable(scenario.text, items)
        self._build_texts(encode)

    def _build_texts(self, encode: Encode) -> None:
        text = self.scenario.text
        number: dict[str, int] = {}
        profiles = list(self.scenario.features.profile)
        words = self.scenario.context_words
        rows = zip(_values(self.events, profiles), _values(self.events, words), strict=True)
        texts = (
            request_text(text, dict(zip(profiles, profile, strict=True)), dict(zip(words, context, strict=True)))
            for profile, context in rows
        )
        self.texts = np.array([number.setdefault(rendered, len(number)) for rendered in texts], dtype=np.int64)
        self.request_texts = len(number)
        # A missing word as '', which the texts show alike: two missing values are never equal.
        shown = self.events[list(words)].astype(object).fillna("")
        self.contexts, distinct = pd.factorize(pd.Series(list(_values(shown, words)), dtype=object))
        self.query_texts = np.array(
            [
                [
                    number.setdefault(request_text(text, {}, dict(zip(words, values, strict=True)), query), len(number))
                    for values in distinct
                ]
                for query in self.queries.queries
            ],
            dtype=np.int64,
        ).reshape(len(self.queries.queries), len(distinct))
        self.distinct_texts = list(number)
        self.text_vectors = encode(self.distinct_texts)

    def seen_before(self, events: IntArray) -> tuple[IntArray, IntArray]:
        """Item rows that the user had met before some events (m,), as pairs (position in `events`, item row).

        As in serving, the newest `exclude_length` count.
        """
        first = np.maximum(self.first_events[events], events - self.scenario.features.exclude_length)
        counts = events - first
        positions = np.repeat(np.arange(len(events)), counts)
        steps = np.arange(len(positions)) - np.repeat(np.cumsum(counts) - counts, counts)
        return positions, self.item_rows[np.repeat(first, counts) + steps]

    def label_scale(self, task: str) -> tuple[float, float]:
        """Mean and standard deviation (at least 1e-6) of a task's labels in training; 0 and 1 without any."""
        labels = self.labels[task]
        values = labels.of(np.flatnonzero(self.train & labels.mask), self.item_rows)
        return (float(values.mean()), max(float(values.std()), 1e-6)) if len(values) else (0.0, 1.0)

    def requests(self, events: IntArray) -> list[RequestFeatures]:
        """The requests (m,) that were made just before some events."""
        return requests_of(self.scenario, self.events.iloc[events])

    def request_encoder(self) -> RequestEncoder:
        """The encoder that serving uses too."""
        return RequestEncoder(self.scenario, self.catalogues)


def _last(history: NDArray[np.generic]) -> object:
    return history[-1] if len(history) else None


def _values(frame: pd.DataFrame, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The values of some columns, row by row: a dictionary per row would take more memory than the frame."""
    if not columns:
        return repeat((), len(frame))
    return zip(*(frame[name].tolist() for name in columns), strict=True)


def with_scenario(dataset: Dataset, scenario: Scenario) -> Dataset:
    """The data set under another scenario, which may only leave tasks out or train otherwise."""
    changed = copy.copy(dataset)
    changed.scenario = scenario
    return changed


def with_vectors(dataset: Dataset, text_vectors: np.ndarray) -> Dataset:
    """The data set with other text vectors (T, D)."""
    changed = copy.copy(dataset)
    changed.text_vectors = text_vectors
    return changed
