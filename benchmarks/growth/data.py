"""Made-up tables of any size: events per user spread as MovieLens' are, items by popularity."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from polytask.data.tables import table_file
from polytask.scenario import Scenario, load_scenario
from polytask.scenario.names import INTERACTIONS, ITEMS, USERS

# MovieLens-100K has 106 ratings a user, 65 in the middle; the logarithms of the counts spread by 1.
EVENTS_PER_USER = 100
EVENTS_PER_ITEM = 100
SPREAD = 1.0
FIRST, LAST = 874_724_710, 893_286_638  # Unix seconds of MovieLens' first and last rating
OCCUPATIONS = ("artist", "doctor", "engineer", "librarian", "student", "writer")
WORDS = ("blue", "cold", "lost", "silent", "last", "hidden", "golden", "broken", "river", "city", "garden", "winter")


def write_data(events: int, folder: Path, seed: int = 7) -> Scenario:
    """Write users, items and `events` interactions below `folder`; returns MovieLens' scenario over them."""
    random = np.random.default_rng(seed)
    scenario = load_scenario("movielens")
    users, items = max(events // EVENTS_PER_USER, 20), max(events // EVENTS_PER_ITEM, 100)
    folder.mkdir(parents=True, exist_ok=True)
    _write(_users(users, random), folder, USERS)
    _write(_items(items, scenario, random), folder, ITEMS)
    _write(_interactions(events, users, items, random), folder, INTERACTIONS)
    content = scenario.model_dump()
    content["source"] = {"kind": "tables", "path": str(folder.resolve())}
    return Scenario.model_validate(content)


def _users(count: int, random: np.random.Generator) -> dict[str, object]:
    return {
        "user_id": np.arange(1, count + 1),
        "age": random.integers(15, 75, count),
        "gender": random.choice(["M", "F"], count),
        "occupation": random.choice(OCCUPATIONS, count),
    }


def _items(count: int, scenario: Scenario, random: np.random.Generator) -> dict[str, object]:
    genres = scenario.task("scene").classes
    assert genres is not None, "a multiclass task has classes"
    titles = random.choice(WORDS, (count, 2))
    return {
        "item_id": np.arange(1, count + 1),
        "title": [f"{one} {other} {number}" for number, (one, other) in enumerate(titles)],
        "year": random.integers(1930, 1998, count),
        "genres": [sorted(random.choice(genres, random.integers(1, 4), replace=False)) for _ in range(count)],
    }


def _interactions(events: int, users: int, items: int, random: np.random.Generator) -> dict[str, object]:
    share = random.lognormal(0.0, SPREAD, users)
    popularity = 1.0 / np.arange(1, items + 1) ** 0.8
    return {
        "user_id": random.choice(users, events, p=share / share.sum()) + 1,
        "item_id": random.choice(random.permutation(items), events, p=popularity / popularity.sum()) + 1,
        # Whole seconds, drawn independently for each event: some of a user's tie, as in the original.
        "timestamp": np.sort(random.integers(FIRST, LAST, events)),
        "rating": random.integers(1, 6, events).astype("float64"),
    }


def _write(columns: dict[str, object], folder: Path, name: str) -> None:
    pq.write_table(pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False), table_file(folder, name))
