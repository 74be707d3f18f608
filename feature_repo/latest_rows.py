"""The newest row of each entity out of a Parquet file, for materialize.

Feast's own DuckDB store carries whole rows, a user's whole history among them, through the sort that finds the newest;
here DuckDB sees keys, times and row numbers alone, as in the point-in-time join. The tests compare the two.
"""

from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
from feast import OnDemandFeatureView
from feast.infra.offline_stores.offline_store import RetrievalMetadata

from feature_repo.parquet_rows import RowsJob, quoted, rows_of


class LatestRows(RowsJob):
    """The newest row of each entity from `first` to `last`, both included; of two of one time the later in the file.

    The file is read when the result is requested: an Arrow table of the columns `keys`, `features` and `time`.
    """

    def __init__(
        self, path: str, keys: list[str], features: list[str], time: str, first: datetime, last: datetime
    ) -> None:
        self._path, self._keys, self._features, self._time = path, keys, features, time
        self._first, self._last = first, last

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """None: what Feast computes on demand is not stored."""
        return []

    @property
    def metadata(self) -> RetrievalMetadata:
        """The request: features, keys and time range."""
        return RetrievalMetadata(self._features, self._keys, self._first, self._last)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        columns = [*self._keys, *self._features, self._time]
        return rows_of(self._path, columns, self._numbers())

    def _numbers(self) -> pa.ChunkedArray:
        keys, moment = ", ".join(map(quoted, self._keys)), f"{quoted(self._time)}::TIMESTAMPTZ"
        query = f"""
            SELECT max({{moment: {moment}, number: file_row_number}}).number AS number
            FROM read_parquet(?, file_row_number = true) WHERE {moment} BETWEEN ? AND ? GROUP BY {keys} ORDER BY number
        """  # noqa: S608 - quoted
        parameters: list[Any] = [self._path, self._first, self._last]
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(query, parameters).to_arrow_table()["number"]
