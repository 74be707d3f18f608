"""Rows and external ids: position i has row i + 1, row 0 means nothing."""

import numpy as np
import pytest

from polytask.data.catalogue import catalogues_of, load_catalogue


@pytest.fixture(scope="module")
def items(small_scenario, tables):
    return catalogues_of(small_scenario, tables)["items"]


def test_rows_and_ids(items):
    assert len(items) == 60
    assert items.row(7) == 1
    assert items.row(420) == 60
    assert [items.external(items.row(external)) for external in items.ids] == items.ids


def test_unknown_ids_are_padding(items):
    rows = items.rows([14, 8, None, "14", 420])
    assert rows.tolist() == [2, 0, 0, 0, 60]
    assert rows.dtype == np.int64
    assert items.rows([]).shape == (0,)


@pytest.mark.parametrize("row", [0, -1, 61])
def test_rows_that_mean_nothing(items, row):
    with pytest.raises(IndexError, match=f"row {row} of catalogue items, which has rows 1 to 60"):
        items.external(row)
    with pytest.raises(IndexError, match=f"row {row} "):
        items.record(row)


def test_saved_and_loaded(small_scenario, tables, items, tmp_path):
    items.save(tmp_path / "items.parquet")
    loaded = load_catalogue(small_scenario, "items", tmp_path / "items.parquet")
    assert loaded.ids == items.ids
    assert loaded.record(3)["title"] == tables.items["title"][2]
    assert list(loaded.record(3)["genres"]) == tables.items["genres"][2]
    assert list(loaded.table.columns) == ["item_id", "title", "year", "genres"]
