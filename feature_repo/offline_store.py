"""A point-in-time join for Feast over Parquet files: DuckDB's ASOF JOIN finds the rows, pyarrow fetches their values.

Feast's own DuckDB join pairs every row with every earlier row of its user and keeps the newest, and any join that
carries a user's whole history through its sort pays for the arrays twice. Here the join sees keys, times and row
numbers alone; the values are read afterwards, row group by row group, and come in the order of the entity rows.
The tests compare it with Feast's join on the same data.
"""

from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureView, OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel

from feature_repo.latest_rows import LatestRows
from feature_repo.parquet_rows import RowsJob, parquet_path, quoted, rows_of
from polytask.errors import DataError

ENTITY_TIME = "event_timestamp"
_POSITION = "__position"


class AsofDuckDBOfflineStoreConfig(FeastConfigBaseModel):
    """The settings of `duckdb`, of which the join needs none; `type` is the path of the class below."""

    type: str = "feature_repo.offline_store.AsofDuckDBOfflineStore"
    staging_location: str | None = None
    staging_location_endpoint_override: str | None = None


class AsofDuckDBOfflineStore(OfflineStore):
    """`get_historical_features` over a data frame with the column `event_timestamp`, and what materialize reads."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """For each entity row, in order, the newest feature row at or before its time that the view's TTL lets live.

        Raises DataError for arguments of Feast that are not supported: see the messages.
        """
        if not isinstance(entity_df, pd.DataFrame) or ENTITY_TIME not in entity_df:
            raise DataError(f"the entity rows are to be a data frame with the column {ENTITY_TIME!r}")
        if full_feature_names or any(kwargs.values()):
            requested = [name for name, value in kwargs.items() if value] or ["full_feature_names"]
            raise DataError(f"{', '.join(requested)}: not supported by the ASOF join")
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        return AsofJoin(entity_df, feature_views, feature_refs, on_demand)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The newest row of each entity from `start_date` to `end_date`, for materialize.

        Raises DataError for a source that is not one Parquet file.
        """
        path = parquet_path(data_source)
        return LatestRows(path, join_key_columns, feature_name_columns, timestamp_field, start_date, end_date)

    @staticmethod
    def pull_all_from_table_or_query(*args: Any, **kwargs: Any) -> RetrievalJob:
        """Not here: raises DataError."""
        raise DataError("this offline store does not list sources: read them through what feature_store.yaml names")


class AsofJoin(RowsJob):
    """The join of some entity rows; it runs when its result is requested."""

    def __init__(
        self,
        entities: pd.DataFrame,
        views: list[FeatureView],
        references: list[str],
        on_demand: list[OnDemandFeatureView],
    ) -> None:
        self._entities, self._views, self._references, self._on_demand = entities, views, references, on_demand

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The views that Feast computes from the result."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata:
        """The request: features, keys and time range."""
        times = self._entities[ENTITY_TIME]
        keys = [column for column in self._entities.columns if column != ENTITY_TIME]
        return RetrievalMetadata(self._references, keys, times.min().to_pydatetime(), times.max().to_pydatetime())

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        found = self._row_numbers()
        joined = pa.Table.from_pandas(self._entities, preserve_index=False)
        positions = found[_POSITION].to_numpy()
        if not np.array_equal(positions, np.arange(len(joined))):
            joined = joined.take(pa.array(positions))
        for number, view in enumerate(self._views):
            columns = self._columns(view)
            values = rows_of(parquet_path(_source(view)), list(columns.values()), found[f"row_{number}"])
            for name, column in columns.items():
                joined = joined.append_column(name, values[column])
        return joined

    def _row_numbers(self) -> pa.Table:
        """`__position` of every entity row, in order, and of each view the row of its file or null: `row_0`, ..."""
        keys_of = [_keys(view) for view in self._views]
        joins, selected, parameters = [], [f"e.{_POSITION}"], []
        for number, (view, keys) in enumerate(zip(self._views, keys_of, strict=True)):
            joins.append(_asof(number, view, keys))
            selected.append(_row(number, view))
            parameters.append(parquet_path(_source(view)))
            for theirs in keys.values():
                parameters += [_plain(self._entities[theirs].min()), _plain(self._entities[theirs].max())]
        used = dict.fromkeys([ENTITY_TIME, *(theirs for keys in keys_of for theirs in keys.values())])
        entities = pa.Table.from_pandas(self._entities[list(used)], preserve_index=False)
        entities = entities.append_column(_POSITION, pa.array(np.arange(len(entities))))
        query = f"SELECT {', '.join(selected)} FROM entities e {' '.join(joins)} ORDER BY e.{_POSITION}"  # noqa: S608 - quoted
        with duckdb.connect() as connection:
            # The size of an Arrow table is unknown to DuckDB, and a join of few rows is a loop: 8 s where .1 will do.
            connection.execute("SET asof_loop_join_threshold = 0; SET TimeZone = 'UTC'")
            connection.register("entities", entities)
            return connection.execute(query, parameters).to_arrow_table()

    def _columns(self, view: FeatureView) -> dict[str, str]:
        """The requested features of a view, each with its column in the file."""
        prefix = f"{view.projection.name_to_use()}:"
        names = [one.removeprefix(prefix) for one in self._references if one.startswith(prefix)]
        return {name: _column(view, name) for name in names}


def _source(view: FeatureView) -> DataSource:
    """The batch source of a view."""
    assert view.batch_source is not None, f"view {view.name!r}: every view of the scenario has a batch source"
    return view.batch_source


def _keys(view: FeatureView) -> dict[str, str]:
    """The view's join keys, each with the column of the entity rows that it meets."""
    return view.projection.join_key_map or {column.name: column.name for column in view.entity_columns}


def _asof(number: int, view: FeatureView, keys: dict[str, str]) -> str:
    """The join to a view, as `f0`, `f1`, ...; its parameters are the file, and the bounds of each key."""
    own = {theirs: quoted(_column(view, key)) for key, theirs in keys.items()}
    met = [f"e.{quoted(theirs)} = f{number}.{column}" for theirs, column in own.items()]
    # No other rows can join; DuckDB skips the row groups outside of these bounds, which it does not find by itself.
    bounds = " AND ".join(f"{column} BETWEEN ? AND ?" for column in own.values()) or "true"
    moment = f"{quoted(_source(view).timestamp_field)}::TIMESTAMPTZ AS moment"
    columns = ", ".join([*own.values(), moment, "file_row_number"])
    rows = f"SELECT {columns} FROM read_parquet(?, file_row_number = true) WHERE {bounds}"  # noqa: S608 - quoted
    on = " AND ".join([*met, f"e.{quoted(ENTITY_TIME)} >= f{number}.moment"])
    return f"ASOF LEFT JOIN ({rows}) f{number} ON {on}"


def _row(number: int, view: FeatureView) -> str:
    """The number of the row that was met, or null where it is older than the view's TTL."""
    row = f"f{number}.file_row_number"
    if view.ttl:
        age = f"epoch_us(e.{quoted(ENTITY_TIME)}) - epoch_us(f{number}.moment)"
        row = f"CASE WHEN {age} <= {round(view.ttl.total_seconds() * 1_000_000)} THEN {row} END"
    return f"{row} AS row_{number}"


def _column(view: FeatureView, name: str) -> str:
    """The column of the source behind a name of the view."""
    return next((old for old, new in _source(view).field_mapping.items() if new == name), name)


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's own."""
    return value.item() if isinstance(value, np.generic) else value
