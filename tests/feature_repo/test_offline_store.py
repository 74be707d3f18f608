"""The ASOF join against Feast's own DuckDB join, on the same store and the same rows."""

import warnings

import pandas as pd
import pytest

from feature_repo.definitions import REQUEST_TIME
from feature_repo.offline_store import AsofJoin
from feature_repo.store import known_warnings_ignored, open_batch_store, open_store
from polytask.errors import DataError


def joined(store, service, rows):
    with known_warnings_ignored():
        table = store.get_historical_features(rows.copy(), store.get_feature_service(service)).to_arrow()
    frame = table.to_pandas().sort_values("event_id", ignore_index=True)
    return frame.assign(**{name: [None if v is None else list(v) for v in frame[name]] for name in ("history", "seen")})


@pytest.fixture
def rows(tables):
    """Every event; rows at the stamps, as long after them as they may be, before all; unknown users, doubled rows."""
    events = tables.interactions[["user_id", "timestamp"]]
    at_stamp = events.iloc[:50].assign(timestamp=events["timestamp"].iloc[:50] + pd.Timedelta(1, "us"))
    # A user's newest row is as old as it may be just then, and another row comes after none of these.
    last = events.groupby("user_id", as_index=False).last()
    at_limit = last.assign(timestamp=last["timestamp"] + pd.Timedelta(1, "us") + pd.Timedelta(days=3))
    before = events.iloc[:5].assign(timestamp=pd.Timestamp("1999-01-01T00:00:00Z"))
    # Between two known keys: the first and the last key of the rows are those of known users.
    unknown = events.iloc[:5].assign(user_id=15)
    rows = pd.concat([events, at_stamp, at_limit, before, unknown, events.iloc[:3]], ignore_index=True)
    rows = rows.rename(columns={"timestamp": "event_timestamp"})
    rows["event_timestamp"] = rows["event_timestamp"].astype("datetime64[us, UTC]")
    rows.insert(0, "event_id", range(len(rows)))
    return rows.assign(**{REQUEST_TIME: rows["event_timestamp"].astype("int64") // 1_000_000})


@pytest.mark.parametrize("ttl_days", [36500, 3])
def test_equal_to_feasts_own_join(small_scenario, ingested, rows, tmp_path, ttl_days):
    from feature_repo.apply import build_store

    features = small_scenario.features.model_copy(
        update={"history_ttl_days": ttl_days, "profile_ttl_days": ttl_days, "history_length": 5}
    )
    scenario = small_scenario.model_copy(update={"features": features})
    store = build_store(scenario, ingested, tmp_path / "store")
    theirs = joined(open_store(store), scenario.feature_service, rows)
    ours = joined(open_batch_store(store), scenario.feature_service, rows)
    assert len(ours) == len(rows)
    assert ours["history"].isna().any()
    assert ours["history"].notna().any()
    pd.testing.assert_frame_equal(ours, theirs[ours.columns.tolist()])


@pytest.fixture
def job(small_store, small_scenario, rows):
    """The join of all rows, in an order that is neither the source's nor that of time."""
    store = open_batch_store(small_store)
    mixed = rows.sample(frac=1, random_state=4)
    return mixed, store.get_historical_features(mixed, ["user_history:history", "user_profile:age"])


def test_rows_come_in_the_order_they_are_sent(job):
    mixed, join = job
    assert join.to_arrow()["event_id"].to_pylist() == mixed["event_id"].tolist()


def test_a_mapped_column_is_read_by_its_own_name(small_store, rows):
    import pyarrow.parquet as pq
    from feast import Entity, FeatureView, Field, FileSource
    from feast.types import Int64
    from feast.value_type import ValueType

    path = str(small_store / "sources" / "user_profile.parquet")
    source = FileSource(name="mapped", path=path, timestamp_field="event_timestamp", field_mapping={"age": "years"})
    entity = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    view = FeatureView(name="mapped", entities=[entity], schema=[Field(name="years", dtype=Int64)], source=source)
    view.entity_columns = [Field(name="user_id", dtype=Int64)]
    found = AsofJoin(rows.iloc[:40], [view], ["mapped:years"], []).to_arrow()
    ages = dict(zip(*(pq.read_table(path)[name].to_pylist() for name in ("user_id", "age")), strict=True))
    assert found["years"].to_pylist() == [ages[user] for user in found["user_id"].to_pylist()]


@pytest.mark.parametrize("requested", [{"full_feature_names": True}, {"filter_by_created_timestamp": True}])
def test_what_the_join_does_not_do_is_refused(small_store, rows, requested):
    store = open_batch_store(small_store)
    with pytest.raises((DataError, NotImplementedError), match="support"):
        store.get_historical_features(rows, ["user_profile:age"], **requested)


def test_a_source_of_another_kind_is_refused(small_store, rows):
    store = open_batch_store(small_store)
    view = store.get_feature_view("user_profile")
    view.batch_source.created_timestamp_column = "made_at"
    with pytest.raises(DataError, match="source 'user_profile_source': has a created timestamp"):
        AsofJoin(rows, [view], ["user_profile:age"], []).to_arrow()
    view.batch_source.file_options.uri = "s3://bucket/profiles"
    with pytest.raises(DataError, match="'user_profile_source': is to be one Parquet file"):
        AsofJoin(rows, [view], ["user_profile:age"], []).to_arrow()


def test_the_yaml_names_feasts_own_store(small_store):
    assert open_store(small_store).config.offline_store.type == "duckdb"
    assert open_batch_store(small_store).config.offline_store.type.endswith("AsofDuckDBOfflineStore")


def test_known_warnings_alone_are_ignored():
    with warnings.catch_warnings(record=True) as caught, known_warnings_ignored():
        warnings.warn("On demand feature view is experimental", RuntimeWarning, stacklevel=1)
    assert not caught
    with pytest.warns(RuntimeWarning, match="something else"), known_warnings_ignored():
        warnings.warn("something else", RuntimeWarning, stacklevel=1)
