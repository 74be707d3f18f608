"""A user's own tables: `users`, `items` (if any) and `interactions`, each as `.parquet` or `.csv`, in one folder."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from polytask.data.tables import Tables
from polytask.errors import DataError
from polytask.scenario.names import INTERACTIONS, ITEMS, USERS
from polytask.scenario.schema import Column, Scenario


def read_user_tables(scenario: Scenario, cache: Path | None) -> Tables:
    """The tables below `source.path` in file order. `cache` is not needed.

    CSV is UTF-8 with a header; every cell is read as text and an empty cell is a missing value, so that an id `007` or
    a title `NA` stays what it is; an empty cell of a `string_list` column is an empty list. Raises DataError for a
    missing, doubled or unreadable file.
    """
    folder = Path(scenario.source.path or ".")
    entities = scenario.entities
    return Tables(
        users=_read(folder, USERS, entities.users.columns),
        items=None if entities.items is None else _read(folder, ITEMS, entities.items.columns),
        interactions=_read(folder, INTERACTIONS, entities.interactions.columns),
    )


def read_table(path: Path, name: str, columns: Mapping[str, Column]) -> pd.DataFrame:
    """The raw table `name` out of one .parquet or .csv file, see `read_user_tables`."""
    if path.suffix not in (".parquet", ".csv"):
        raise DataError(f"{name}: {path} is given; allowed: a .parquet or a .csv file")
    try:
        if path.suffix == ".parquet":
            # Nullable types: a column of 64-bit ids with one gap must not pass through floats.
            return pd.read_parquet(path, dtype_backend="numpy_nullable")
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8")
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{name}: {path} is empty; allowed: a line of column names, then rows") from error
    except (OSError, ValueError) as error:  # pyarrow's and pandas' parser errors are ValueErrors
        raise DataError(f"{name}: {path} cannot be read: {error}") from error
    # CSV cannot distinguish an empty list from a missing one; a film without a genre is the common case.
    lists = [column for column, spec in columns.items() if spec.type == "string_list" and column in table]
    return table.fillna(dict.fromkeys(lists, ""))


def _read(folder: Path, name: str, columns: Mapping[str, Column]) -> pd.DataFrame:
    found = [path for path in (folder / f"{name}.parquet", folder / f"{name}.csv") if path.is_file()]
    if len(found) != 1:
        there = "both are there" if found else "neither is there"
        raise DataError(f"{name}: {there}; allowed: one of {name}.parquet and {name}.csv in {folder.resolve()}")
    return read_table(found[0], name, columns)
