"""Check that a training set's histories hold the events strictly before each row's own: no later one, none missing."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polytask.contract.tensors import HISTORY, SEEN
from polytask.data.history import AFTER_EVENT
from polytask.errors import DataError
from polytask.scenario.names import EVENT_ID
from polytask.scenario.schema import Scenario


class LeakCheck:
    """Compares `history` and `seen` of a training set, part by part, with the events that they were made of."""

    def __init__(self, scenario: Scenario, interactions: pd.DataFrame) -> None:
        user, timestamp = scenario.entities.users.key, scenario.entities.interactions.timestamp
        events = interactions.sort_values([user, timestamp, EVENT_ID], ignore_index=True)
        codes = pd.factorize(events[user])[0]
        self._starts = np.searchsorted(codes, codes)
        self._position = pd.Series(np.arange(len(events)), index=events[EVENT_ID])
        age = events[timestamp] - (events[timestamp].shift(1) + AFTER_EVENT)
        assert scenario.features.history_ttl_days is not None, "features.history_ttl_days is needed with items"
        self._expired = (age > pd.Timedelta(days=scenario.features.history_ttl_days)).to_numpy()
        self._limits = {HISTORY: scenario.features.history_length, SEEN: scenario.features.exclude_length}
        self._keys = events[scenario.items.key].to_numpy()
        # Numbers are used as they are; strings are identified by the number of their first appearance.
        self._distinct = None if self._keys.dtype.kind == "i" else pa.array(pd.unique(self._keys))
        self._items = self._numbers(pa.array(self._keys))
        self._rows = 0
        self._wrong = dict.fromkeys(self._limits, 0)
        self._first: dict[str, str] = {}

    def look_at(self, rows: pa.Table) -> None:
        """Check some rows: event_id, `history` and `seen`.

        A row may have an empty list where `history_ttl_days` has run out. Raises DataError for an unknown event.
        """
        ids = rows[EVENT_ID].to_numpy()
        ends = self._position.reindex(ids)
        if ends.isna().any():
            raise DataError(f"{EVENT_ID} {ids[ends.isna()][0]} of the training set is not among the interactions")
        end = ends.to_numpy("int64")
        self._rows += len(ids)
        for name, limit in self._limits.items():
            length = np.where(self._expired[end], 0, np.minimum(end - self._starts[end], limit))
            lists = rows[name].combine_chunks()
            bad = self._differs(lists, end - length, length)
            self._wrong[name] += len(bad)
            if bad and name not in self._first:
                row = bad[0]
                expected = self._keys[end[row] - length[row] : end[row]].tolist()
                found = lists[row].as_py() or []
                self._first[name] = (
                    f"event {ids[row]} has {len(found)} items ending in {found[-3:]}, "
                    f"the {length[row]} before it end in {expected[-3:]}"
                )

    def finish(self) -> None:
        """Raise DataError with the column, the count and the first wrong row: what it holds last and what it should."""
        for name, count in self._wrong.items():
            if count:
                raise DataError(
                    f"{name}: {count} of {self._rows} rows do not hold the events strictly before their own: "
                    f"{self._first[name]}"
                )

    def _differs(self, lists: pa.ListArray, begin: NDArray[np.int64], length: NDArray[np.int64]) -> list[int]:
        """The rows of lists (n,) that are not items[begin:begin + length]."""
        found = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype("int64")
        values = self._numbers(lists.flatten())
        # Whole rows as bytes: an index per element would cost ten times what the elements do.
        held, expected = values.data.cast("B"), self._items.data.cast("B")
        size = values.itemsize
        at = (np.cumsum(found) - found).tolist()
        return [
            row
            for row, (there, start, count, own) in enumerate(
                zip(at, begin.tolist(), length.tolist(), found.tolist(), strict=True)
            )
            if own != count
            or held[size * there : size * (there + own)].tobytes()
            != expected[size * start : size * (start + own)].tobytes()
        ]

    def _numbers(self, keys: pa.Array) -> NDArray[np.int64]:
        """Item keys (n,) as numbers (n,); -1 for one that no event has."""
        if self._distinct is not None:
            keys = pc.index_in(keys, self._distinct).fill_null(-1)
        return np.ascontiguousarray(keys.to_numpy(zero_copy_only=False), dtype=np.int64)
