"""What a user had done as of each event: the arrays that Feast stores and training joins back."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from polytask.scenario.schema import Scenario
from polytask.tables import EVENT_ID
from polytask.tensors import HISTORY, SEEN

# A point-in-time join takes the newest row at or before a moment: stamped at the event's own time, the row would give
# the event away to itself. One microsecond later it is there for the next event, which ingest keeps two away.
AFTER_EVENT = pd.Timedelta(1, "us")


def history_as_of(scenario: Scenario, interactions: pd.DataFrame) -> pd.DataFrame:
    """One row per event: user key, timestamp (event + 1 microsecond), `history` and `seen`, by user and time.

    Both hold item keys from oldest to newest, the event's own item last: at most `history_length` and `seen_length`.
    The arrays are views of one array of items, so that the frame costs a few bytes per row and not per array element.
    """
    user, item = scenario.entities.users.key, scenario.items.key
    timestamp = scenario.entities.interactions.timestamp
    events = interactions.sort_values([user, timestamp, EVENT_ID], ignore_index=True)
    items = events[item].to_numpy()
    starts = np.searchsorted(codes := pd.factorize(events[user])[0], codes)
    ends = np.arange(1, len(events) + 1)
    return pd.DataFrame(
        {
            user: events[user],
            timestamp: events[timestamp] + AFTER_EVENT,
            HISTORY: _windows(items, starts, ends, scenario.features.history_length),
            SEEN: _windows(items, starts, ends, scenario.features.seen_length),
        }
    )


def _windows(items: np.ndarray, starts: np.ndarray, ends: np.ndarray, length: int) -> pd.Series:
    """For each row the view items[max(start, end - length):end]."""
    first = np.maximum(starts, ends - length)

    def views() -> Iterator[np.ndarray]:
        for start, end in zip(first.tolist(), ends.tolist(), strict=True):
            yield items[start:end]

    windows = pd.Series(index=range(len(items)), dtype=object)
    windows[:] = list(views())
    return windows
