"""Rows of a Parquet file by their number, in the requested order, with no more of the file in memory."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FileSource
from feast.data_source import DataSource
from feast.infra.offline_stores.offline_store import RetrievalJob

from polytask.errors import DataError


class RowsJob(RetrievalJob):
    """A read that ends in an Arrow table, `_to_arrow_internal`; Feast's other form of it follows from that."""

    @property
    def full_feature_names(self) -> bool:
        """Never: two views with a feature of one name are not distinguished."""
        return False

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame


def rows_of(path: str, columns: list[str], numbers: pa.ChunkedArray) -> pa.Table:
    """Row `numbers[n]` of the file as row n, for int64 `numbers` (n,); a row of nulls where the number is null.

    Only the row groups that hold them are read, one after the other; ascending numbers, as of a file in the requested
    order, are not sorted.
    """
    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        wanted = numbers.fill_null(-1).to_numpy().astype("int64")
        # A row without a number stays next to the one before it.
        near = np.maximum.accumulate(wanted)
        order = None
        if ((wanted >= 0) & (wanted < near)).any():
            order = np.argsort(wanted, kind="stable")
            wanted = wanted[order]
            near = np.maximum.accumulate(wanted)
        starts = np.cumsum([0, *sizes])
        groups = np.searchsorted(starts[:-1], near, side="right") - 1
        parts = []
        ends = [*(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(wanted)]
        for begin, end in zip([0, *ends], ends, strict=False):
            if begin == end or groups[begin] < 0:
                schema = file.schema_arrow
                parts.append(pa.table({name: pa.nulls(end - begin, schema.field(name).type) for name in columns}))
                continue
            group = int(groups[begin])
            here = wanted[begin:end]
            rows = pa.array(here - starts[group], mask=here < 0)
            parts.append(file.read_row_group(group, columns=columns).take(rows))
    found = pa.concat_tables(parts)
    if order is None:
        return found
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return found.take(pa.array(back))


def parquet_path(source: DataSource) -> str:
    """The file of a source. Raises DataError for a source of another kind, or with times at which rows were made."""
    if not isinstance(source, FileSource) or not source.path.endswith(".parquet"):
        raise DataError(f"source {source.name!r}: is to be one Parquet file")
    if source.created_timestamp_column:
        raise DataError(f"source {source.name!r}: has a created timestamp, which is not looked at here")
    return str(source.path)


def quoted(name: str) -> str:
    """The name of a column in SQL."""
    return '"' + name.replace('"', '""') + '"'
