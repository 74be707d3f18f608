"""The rows that materialize reads, compared with those of Feast's own DuckDB store for the same files."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.apply import build_store
from feature_repo.latest_rows import LatestRows
from feature_repo.sources import source_file, views_of
from feature_repo.store import known_warnings_ignored, open_batch_store, open_store

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def pulled(store, view, first, last):
    source = store.get_feature_view(view).batch_source
    columns = [field.name for field in store.get_feature_view(view).features]
    job = store._get_provider().offline_store.pull_latest_from_table_or_query(
        store.config, source, ["user_id"], columns, source.timestamp_field, None, first, last
    )
    with known_warnings_ignored():
        table = job.to_arrow().select(["user_id", *columns, source.timestamp_field])
    stamps = table[source.timestamp_field].cast(pa.timestamp("us", tz="UTC"))
    return table.set_column(table.num_columns - 1, source.timestamp_field, stamps).sort_by("user_id").to_pydict()


@pytest.mark.parametrize("view", ["user_history", "user_profile"])
def test_equal_to_what_feasts_own_store_reads(small_store, view):
    stamps = pq.read_table(source_file(small_store, view))["event_timestamp"].to_pylist()
    ordered = sorted(stamps)
    # All of it, and a part whose bounds are the times of rows.
    for first, last in ((ordered[0], ordered[-1]), (ordered[len(ordered) // 3], ordered[len(ordered) // 2])):
        ours = pulled(open_batch_store(small_store), view, first, last)
        assert ours == pulled(open_store(small_store), view, first, last)
        assert len(set(ours["user_id"])) == len(ours["user_id"]) > 1


def test_materialize_reads_in_this_way(small_scenario, ingested, tmp_path, monkeypatch):
    read = []
    numbers = LatestRows._numbers
    monkeypatch.setattr(LatestRows, "_numbers", lambda self: read.append(self._path) or numbers(self))
    store = build_store(small_scenario, ingested, tmp_path / "store")
    assert sorted(read) == sorted(str(source_file(store, view)) for view in views_of(small_scenario))


def read(path, keys, first=MOMENT, last=MOMENT + timedelta(days=9)):
    return LatestRows(str(path), keys, ["value"], "time", first, last).to_arrow()


def test_of_two_rows_of_one_time_the_later_in_the_file_counts(tmp_path):
    days = [MOMENT + timedelta(days=day) for day in (1, 3, 3, 2, 1)]
    rows = {"key": ["a", "a", "a", "a", "b"], "time": days, "value": [[1], [2], [3], [4], [5]]}
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet", row_group_size=2)
    found = read(tmp_path / "rows.parquet", ["key"])
    assert found.column_names == ["key", "value", "time"]
    assert found["value"].to_pylist() == [[3], [5]]
    assert read(tmp_path / "rows.parquet", ["key"], last=days[3])["value"].to_pylist() == [[4], [5]]
    assert read(tmp_path / "rows.parquet", ["key"], last=MOMENT).num_rows == 0


def test_an_entity_may_have_two_keys(tmp_path):
    rows = {'odd "key"': [1, 1, 2], "other": [1, 2, 1], "time": [MOMENT] * 3, "value": [1.0, 2.0, 3.0]}
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    assert read(tmp_path / "rows.parquet", ['odd "key"', "other"])["value"].to_pylist() == [1.0, 2.0, 3.0]
