"""From the features of a request to the model's input tensors: one function for training, evaluation and serving."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.contract.tensors import ALLOWED, DISLIKED, HISTORY, SEEN, USER
from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.scenario.names import ITEMS, USERS
from polytask.scenario.schema import Scenario
from polytask.text.templates import request_text


@dataclass(frozen=True)
class RequestFeatures:
    """What is known about one request. Ids are external; items run from oldest to newest.

    `seen` items are left out of the response; the scores of `disliked` items and of similar items are lowered.
    """

    user_id: Hashable | None = None
    profile: Mapping[str, object] = field(default_factory=dict)
    context: Mapping[str, object] = field(default_factory=dict)
    history: Sequence[Hashable] = ()
    seen: Sequence[Hashable] = ()
    disliked: Sequence[Hashable] = ()
    query: str | None = None


def requests_of(scenario: Scenario, rows: pd.DataFrame) -> list[RequestFeatures]:
    """The requests that were made just before the events of some rows (m,) of the training set."""
    return [
        RequestFeatures(
            user_id=row[scenario.entities.users.key],
            profile={column: row[column] for column in scenario.features.profile},
            context={word: row[word] for word in scenario.context_words},
            history=list(row[HISTORY]) if scenario.has_items else (),
            seen=list(row[SEEN]) if scenario.has_items else (),
        )
        for row in rows.to_dict("records")
    ]


class RequestEncoder:
    """Turns request features into texts and integer tensors with the lengths and catalogues of one scenario."""

    def __init__(self, scenario: Scenario, catalogues: Mapping[str, Catalogue]) -> None:
        self.scenario = scenario
        self.users = catalogues[USERS]
        self.items = catalogues.get(ITEMS)

    def text(self, features: RequestFeatures) -> str:
        """The text of one request."""
        return request_text(self.scenario.text, features.profile, features.context, features.query)

    def rows(self, batch: Sequence[RequestFeatures]) -> dict[str, NDArray[Any]]:
        """(B,) requests -> history (B, L), seen (B, S), user (B, 1), disliked (B, M) int64, allowed (B, 1) bool; those
        that the model reads. Every item is allowed.

        History is padded on the left, so that the newest item is always last; unknown items are left out. Of more
        items than fit, the newest stay.
        """
        rows: dict[str, NDArray[Any]] = {}
        if self.items is not None:
            rows |= self._item_rows(batch, self.items)
        if self.scenario.lists_users:
            user = [[self.users.row(features.user_id)] for features in batch]
            rows[USER] = np.array(user, dtype=np.int64).reshape(len(batch), 1)
        if self.scenario.lists_items:
            rows[ALLOWED] = np.ones((len(batch), 1), dtype=np.bool_)
        return rows

    def _item_rows(self, batch: Sequence[RequestFeatures], items: Catalogue) -> dict[str, NDArray[np.int64]]:
        lengths = self.scenario.features
        history = np.full((len(batch), lengths.history_length), PADDING_ROW, dtype=np.int64)
        seen = np.full((len(batch), lengths.exclude_length), PADDING_ROW, dtype=np.int64)
        disliked = np.full((len(batch), lengths.disliked_length), PADDING_ROW, dtype=np.int64)
        for position, features in enumerate(batch):
            newest = _known(items, features.history)[-lengths.history_length :]
            history[position, lengths.history_length - len(newest) :] = newest
            newest_seen = _known(items, features.seen)[-lengths.exclude_length :]
            seen[position, : len(newest_seen)] = newest_seen
            if self.scenario.takes_disliked_items and features.disliked:
                newest_disliked = _known(items, features.disliked)[-lengths.disliked_length :]
                disliked[position, : len(newest_disliked)] = newest_disliked
        rows = {HISTORY: history, SEEN: seen}
        return {**rows, DISLIKED: disliked} if self.scenario.takes_disliked_items else rows


def _known(items: Catalogue, externals: Sequence[Hashable]) -> NDArray[np.int64]:
    rows = items.rows(externals)
    return rows if rows.all() else rows[rows != PADDING_ROW]
