"""The three tables after ingest, as Parquet files in one folder: `users`, `items`, `interactions`.

`interactions` has `event_id` (position in the source file), both keys, the timestamp (microseconds, UTC, unique per
user) and the scenario's columns, ordered by (timestamp, event_id).
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

USERS = "users"
ITEMS = "items"
INTERACTIONS = "interactions"
EVENT_ID = "event_id"


class Tables(NamedTuple):
    """The three tables of a scenario."""

    users: pd.DataFrame
    items: pd.DataFrame
    interactions: pd.DataFrame


def table_file(folder: Path, table: str) -> Path:
    """Where a table lies in an ingest folder."""
    return folder / f"{table}.parquet"


def read_tables(folder: Path) -> Tables:
    """Read the three tables that ingest wrote to `folder`."""
    return Tables(*(pd.read_parquet(table_file(folder, name)) for name in (USERS, ITEMS, INTERACTIONS)))


def write_tables(tables: Tables, folder: Path) -> None:
    """Write the three tables; timestamps as microseconds, which DuckDB and Feast read back alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in zip((USERS, ITEMS, INTERACTIONS), tables, strict=True):
        table.to_parquet(table_file(folder, name), index=False, coerce_timestamps="us", allow_truncated_timestamps=True)
