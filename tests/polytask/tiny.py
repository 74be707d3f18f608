"""A data set small enough to work out by hand: users 10 to 40 (rows 1 to 4), items 7 to 35 (rows 1 to 5)."""

import numpy as np
import pandas as pd

from polytask.data.catalogue import catalogues_of
from polytask.data.dataset import Dataset
from polytask.data.tables import Tables
from polytask.scenario import Scenario
from tests.small import training_frame

ITEM_GENRES = [["Comedy"], ["Drama"], ["Comedy", "Drama"], ["Horror"], []]

# User row -> (item row, rating) from oldest to newest. The last two events of users 1 to 3 are validation and test;
# user 4 has too few for that.
EVENTS = {
    1: [(1, 5), (2, 4), (3, 2), (4, 5), (1, 5)],
    2: [(2, 5), (3, 5), (2, 4), (5, 4)],
    3: [(1, 3), (2, 4), (3, 4), (1, 4)],
    4: [(1, 4), (2, 1)],
}


def tiny_tables() -> Tables:
    """The tables that EVENTS describe; all users act at the same moments."""
    users = pd.DataFrame({"user_id": [10, 20, 30, 40], "age": [20, 30, 40, 50], "occupation": ["writer"] * 4})
    items = pd.DataFrame(
        {
            "item_id": np.arange(1, 6) * 7,
            "title": list("abcde"),
            "year": pd.array([1990, 1991, 1992, None, 1994], dtype="Int64"),
            "genres": ITEM_GENRES,
        }
    )
    start = pd.Timestamp("2024-03-01T08:00:00Z")
    events = [
        (user * 10, item * 7, start + pd.Timedelta(step, "h"), float(rating))
        for user, sequence in EVENTS.items()
        for step, (item, rating) in enumerate(sequence)
    ]
    interactions = pd.DataFrame(events, columns=["user_id", "item_id", "timestamp", "rating"])
    interactions["timestamp"] = interactions["timestamp"].astype("datetime64[us, UTC]")
    interactions.insert(0, "event_id", np.arange(len(interactions)))
    return Tables(users, items, interactions.sort_values(["timestamp", "event_id"], ignore_index=True))


def tiny_dataset(scenario: Scenario) -> Dataset:
    """The data set of EVENTS; every text has the vector (0, 0)."""
    tables = tiny_tables()
    return Dataset(
        scenario,
        training_frame(scenario, tables),
        catalogues_of(scenario, tables),
        lambda texts: np.zeros((len(texts), 2), dtype=np.float32),
    )
