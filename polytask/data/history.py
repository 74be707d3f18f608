"""The history of a user as of each event: the arrays that Feast stores and training joins back."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.contract.tensors import HISTORY, SEEN
from polytask.scenario.names import EVENT_ID
from polytask.scenario.schema import Scenario

# A point-in-time join takes the newest row at or before a moment: stamped at the event's own time, the row would give
# the event away to itself. One microsecond later it is there for the next event, which ingest keeps two away.
AFTER_EVENT = pd.Timedelta(1, "us")


def history_as_of(scenario: Scenario, interactions: pd.DataFrame, rows: int) -> Iterator[pd.DataFrame]:
    """One row per event: user key, timestamp (event + 1 microsecond), `history` and `seen`, by user and time.

    In frames of at most `rows` rows. Both arrays hold item keys from oldest to newest, the event's own item last, and
    at most `history_length` and `exclude_length` of them. They are views of one array of items, so that a frame costs a
    few bytes per row and not per array element.
    """
    user, item = scenario.entities.users.key, scenario.items.key
    timestamp = scenario.entities.interactions.timestamp
    lengths = {HISTORY: scenario.features.history_length, SEEN: scenario.features.exclude_length}
    events = interactions[[user, item, timestamp, EVENT_ID]].sort_values([user, timestamp, EVENT_ID], ignore_index=True)
    items = events[item].to_numpy()
    starts = np.searchsorted(codes := pd.factorize(events[user])[0], codes)
    for first in range(0, len(events), rows):
        part = events.iloc[first : first + rows]
        begin, ends = starts[first : first + rows], np.arange(first, first + len(part)) + 1
        yield pd.DataFrame(
            {
                user: part[user],
                timestamp: part[timestamp] + AFTER_EVENT,
                **{name: _windows(items, begin, ends, length) for name, length in lengths.items()},
            }
        )


def _windows(
    items: NDArray[Any], starts: NDArray[np.int64], ends: NDArray[np.int64], length: int
) -> NDArray[np.object_]:
    """For each row the view items[max(start, end - length):end]."""
    windows = np.empty(len(ends), dtype=object)
    for row, (start, end) in enumerate(zip(np.maximum(starts, ends - length).tolist(), ends.tolist(), strict=True)):
        windows[row] = items[start:end]
    return windows
