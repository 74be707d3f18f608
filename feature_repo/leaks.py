"""Check that a training set's histories hold the events strictly before each row's own: no later one, none missing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from polytask.errors import DataError
from polytask.history import AFTER_EVENT
from polytask.scenario.schema import Scenario
from polytask.tables import EVENT_ID
from polytask.tensors import HISTORY, SEEN


def check_no_leak(scenario: Scenario, training_set: Path, interactions: pd.DataFrame) -> None:
    """Compare `history` and `seen` of the Parquet file with the events themselves, read anew from `interactions`.

    A row may have an empty list where `history_ttl_days` has run out. Raises DataError with the column, the count and
    the first row: what it holds last and what it should.
    """
    user, timestamp = scenario.entities.users.key, scenario.entities.interactions.timestamp
    events = interactions.sort_values([user, timestamp, EVENT_ID], ignore_index=True)
    items = events[scenario.items.key].to_numpy()
    codes = pd.factorize(events[user])[0]
    starts = np.searchsorted(codes, codes)
    position = pd.Series(np.arange(len(events)), index=events[EVENT_ID])
    age = events[timestamp] - (events[timestamp].shift(1) + AFTER_EVENT)
    assert scenario.features.history_ttl_days is not None, "features.history_ttl_days is needed with items"
    expired = (age > pd.Timedelta(days=scenario.features.history_ttl_days)).to_numpy()
    limits = {HISTORY: scenario.features.history_length, SEEN: scenario.features.seen_length}
    wrong = dict.fromkeys(limits, 0)
    first: dict[str, str] = {}
    with pq.ParquetFile(training_set) as file:
        total = file.metadata.num_rows
        for batch in file.iter_batches(batch_size=20_000, columns=[EVENT_ID, *limits]):
            ids = batch.column(EVENT_ID).to_numpy()
            ends = position.reindex(ids)
            if ends.isna().any():
                raise DataError(f"{EVENT_ID} {ids[ends.isna()][0]} of the training set is not among the interactions")
            end = ends.to_numpy("int64")
            for name, limit in limits.items():
                length = np.where(expired[end], 0, np.minimum(end - starts[end], limit))
                bad = _differs(batch.column(name), items, end - length, length)
                wrong[name] += int(bad.sum())
                if bad.any() and name not in first:
                    row = int(bad.argmax())
                    expected = items[end[row] - length[row] : end[row]].tolist()
                    found = batch.column(name)[row].as_py() or []
                    first[name] = (
                        f"event {ids[row]} has {len(found)} items ending in {found[-3:]}, "
                        f"the {length[row]} before it end in {expected[-3:]}"
                    )
    for name, count in wrong.items():
        if count:
            raise DataError(
                f"{name}: {count} of {total} rows do not hold the events strictly before their own: {first[name]}"
            )


def _differs(lists: pa.ListArray, items: np.ndarray, begin: np.ndarray, length: np.ndarray) -> np.ndarray:
    """(n,) lists against items[begin:begin + length] of each row -> (n,) bool."""
    found = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    bad = found != length
    row = np.repeat(np.arange(len(lists)), found)
    within = np.arange(len(row)) - np.repeat(found.cumsum() - found, found)
    comparable = ~bad[row]
    expected = items[begin[row[comparable]] + within[comparable]]
    values = lists.flatten().to_numpy(zero_copy_only=False)[comparable]
    bad[row[comparable][values != expected]] = True
    return bad
