"""The training set as a data frame whose arrays share memory.

A row's `history` and `seen` are, but for what a TTL lets expire, what the rows of its user before it are on: a
million rows of their own arrays take 3 GB, windows of one array .3.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from polytask.contract.tensors import HISTORY, SEEN
from polytask.scenario.schema import Scenario

LISTS = (HISTORY, SEEN)


def read_training_set(scenario: Scenario, path: Path) -> pd.DataFrame:
    """The rows of a training set, in the order of the file. Arrays that are windows of others cannot be written to."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        columns = [name for name in names if name not in LISTS]
        rows: pd.DataFrame = file.read(columns=columns).to_pandas()
        if not scenario.has_items:
            return rows
        items = rows[scenario.items.key].to_numpy(copy=True)
        items.flags.writeable = False
        for name in [name for name in names if name in LISTS]:
            arrays = np.empty(len(rows), dtype=object)
            end = 0
            for group in range(file.metadata.num_row_groups):
                for lists in file.read_row_group(group, columns=[name])[name].chunks:
                    for array in _arrays(lists, items, end):
                        arrays[end] = array
                        end += 1
            rows.insert(names.index(name), name, arrays)
    return rows


def _arrays(lists: pa.ListArray, items: NDArray[Any], begin: int) -> Iterator[NDArray[Any]]:
    """The arrays of lists (n,) of the rows from `begin` on: windows of `items` where they hold the same values."""
    values = lists.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)).tolist()
    before = 0
    for row, end in enumerate(ends, begin):
        own = values[before:end]
        window = items[max(row - len(own), 0) : row]
        yield window if own.dtype == window.dtype and np.array_equal(own, window) else own.copy()
        before = end
