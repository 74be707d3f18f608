"""The Parquet files behind the feature views, written from the ingested tables."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from polytask.contract.tensors import HISTORY, SEEN
from polytask.data.history import history_as_of
from polytask.data.tables import Tables
from polytask.scenario.schema import Column, Scenario, Table
from polytask.storage.atomic import atomic_file

USER_PROFILE = "user_profile"
USER_HISTORY = "user_history"
ITEM_CATALOGUE = "item_catalogue"
STAMP = "event_timestamp"

# Rows per row group: bounds the memory of writing, and lets a join over some users skip the other users' rows.
ROWS_PER_GROUP = 5_000
# Nanosecond Parquet breaks the DuckDB store's materialize.
TIME = pa.timestamp("us", tz="UTC")
_ARROW = {"integer": pa.int64(), "float": pa.float64(), "string": pa.string(), "string_list": pa.list_(pa.string())}


def views_of(scenario: Scenario) -> tuple[str, ...]:
    """The feature views of a scenario that have a source: without items there are no items to list, and no history."""
    return (USER_PROFILE, ITEM_CATALOGUE, USER_HISTORY) if scenario.has_items else (USER_PROFILE,)


def source_file(folder: Path, view: str) -> Path:
    """Where the source of a view lies. Absolute: the DuckDB store reads a relative path from the working directory."""
    return (folder / "sources" / f"{view}.parquet").resolve()


def write_sources(scenario: Scenario, tables: Tables, folder: Path) -> None:
    """Write the sources below `folder`: profiles and items stamped before the first event, histories as of each.

    Timestamps are microseconds in UTC, in the column `event_timestamp`.
    """
    entities = scenario.entities
    # Users and items come without a time of their own: one second before the first event they hold for every event.
    stamp = tables.interactions[entities.interactions.timestamp].min() - pd.Timedelta(1, "s")
    profile = {name: entities.users.columns[name] for name in scenario.features.profile}
    _write(source_file(folder, USER_PROFILE), tables.users.assign(**{STAMP: stamp}), _schema(entities.users, profile))
    if entities.items is None or tables.items is None:
        return
    items = tables.items.assign(**{STAMP: stamp})
    _write(source_file(folder, ITEM_CATALOGUE), items, _schema(entities.items, entities.items.columns))
    keys = pa.list_(_ARROW[entities.items.key_type])
    schema = pa.schema(
        {entities.users.key: _ARROW[entities.users.key_type], STAMP: TIME, HISTORY: keys, SEEN: keys},
    )
    history = history_as_of(scenario, tables.interactions, ROWS_PER_GROUP)
    parts = (part.rename(columns={entities.interactions.timestamp: STAMP}) for part in history)
    _write_parts(source_file(folder, USER_HISTORY), parts, schema)


def _schema(entity: Table, columns: dict[str, Column]) -> pa.Schema:
    typed = {name: _ARROW[column.type] for name, column in columns.items()}
    return pa.schema({entity.key: _ARROW[entity.key_type], STAMP: TIME, **typed})


def _write(path: Path, table: pd.DataFrame, schema: pa.Schema) -> None:
    groups = range(0, len(table), ROWS_PER_GROUP)
    _write_parts(path, (table.iloc[start : start + ROWS_PER_GROUP] for start in groups), schema)


def _write_parts(path: Path, parts: Iterable[pd.DataFrame], schema: pa.Schema) -> None:
    """Each part becomes a row group. There is never more than one of them in memory."""
    with atomic_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for rows in parts:
            writer.write_table(pa.Table.from_pandas(rows, schema=schema, preserve_index=False))
