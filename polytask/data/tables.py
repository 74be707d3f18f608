"""The tables after ingest, as Parquet files in one folder: `users`, `items` where there are any, `interactions`.

`interactions` has `event_id` (position in the source file), the keys of the others, the timestamp (microseconds, UTC,
unique per user) and the scenario's columns, ordered by (timestamp, event_id).
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from polytask.scenario.names import INTERACTIONS, ITEMS, USERS
from polytask.storage.atomic import atomic_file


class Tables(NamedTuple):
    """The tables of a scenario. `items` is None where the scenario has none."""

    users: pd.DataFrame
    items: pd.DataFrame | None
    interactions: pd.DataFrame

    def named(self) -> dict[str, pd.DataFrame]:
        """The tables there are, by name."""
        tables = {USERS: self.users, ITEMS: self.items, INTERACTIONS: self.interactions}
        return {name: table for name, table in tables.items() if table is not None}


def table_file(folder: Path, table: str) -> Path:
    """The path of a table in an ingest folder."""
    return folder / f"{table}.parquet"


def read_tables(folder: Path) -> Tables:
    """Read the tables that ingest wrote to `folder`."""
    users, interactions = (pd.read_parquet(table_file(folder, name)) for name in (USERS, INTERACTIONS))
    items = table_file(folder, ITEMS)
    return Tables(users, pd.read_parquet(items) if items.is_file() else None, interactions)


def write_tables(tables: Tables, folder: Path) -> None:
    """Write the tables; timestamps as microseconds, which DuckDB and Feast read back alike."""
    for name, table in tables.named().items():
        with atomic_file(table_file(folder, name)) as temporary:
            table.to_parquet(temporary, index=False, coerce_timestamps="us", allow_truncated_timestamps=True)
