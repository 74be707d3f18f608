"""Rows of a Parquet file by number."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.parquet_rows import rows_of

SIZE, GROUP = 23, 5


@pytest.fixture
def file(tmp_path):
    path = str(tmp_path / "file.parquet")
    table = pa.table(
        {"number": np.arange(SIZE), "list": [list(range(n % 4)) for n in range(SIZE)], "other": ["x"] * SIZE}
    )
    pq.write_table(table, path, row_group_size=GROUP)
    return path


@pytest.mark.parametrize(
    "numbers",
    [
        range(SIZE),
        [None, 0, None, 4, 5, 5, None, 22],
        [22, None, 3, 17, 3, 0, None],
        [None, None],
        [21],
        [],
    ],
    ids=["all", "ascending", "mixed", "none found", "one", "no rows"],
)
def test_the_rows_asked_for_in_that_order(file, numbers):
    found = rows_of(file, ["list", "number"], pa.chunked_array([pa.array(list(numbers), pa.int64())]))
    assert found.column_names == ["list", "number"]
    assert found["number"].to_pylist() == list(numbers)
    assert found["list"].to_pylist() == [None if n is None else list(range(n % 4)) for n in numbers]


def test_no_other_row_group_is_read(file, monkeypatch):
    read = []
    real = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, i, **kw: (read.append(i), real(self, i, **kw))[1]
    )
    rows_of(file, ["number"], pa.chunked_array([pa.array([6, None, 7, 20], pa.int64())]))
    assert read == [1, 4]
