"""The online store: equal to the offline one as of now, and changed by a push."""

import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from feature_repo.definitions import REQUEST_TIME
from feature_repo.push import online_history, push_event
from feature_repo.store import known_warnings_ignored, open_batch_store, open_store
from polytask.errors import DataError

NOW = datetime(2026, 6, 6, 20, 30, tzinfo=UTC)  # a Saturday evening


def test_online_equals_offline_as_of_now(small_store, small_scenario, tables):
    users = tables.users["user_id"].tolist()
    store = open_store(small_store)
    rows = [{"user_id": user, REQUEST_TIME: int(NOW.timestamp())} for user in users]
    online = pd.DataFrame(store.get_online_features(store.get_feature_service("small_v1"), rows).to_dict())
    entities = pd.DataFrame(
        {"user_id": users, "event_timestamp": pd.Timestamp(NOW), REQUEST_TIME: int(NOW.timestamp())}
    )
    training = open_batch_store(small_store)
    with known_warnings_ignored():
        job = training.get_historical_features(entities, training.get_feature_service("small_v1"))
        offline = job.to_arrow().to_pandas().set_index("user_id").loc[users].reset_index()
    columns = ["user_id", "age", "occupation", "daypart", "weekpart"]
    pd.testing.assert_frame_equal(online[columns], offline[columns])
    for name in ("history", "seen"):
        assert [list(row) for row in online[name]] == [list(row) for row in offline[name]]
    assert set(online["daypart"]) == {"evening"}
    assert set(online["weekpart"]) == {"weekend"}


def test_items_are_online(small_store, tables):
    names = ["title", "year", "genres"]
    store = open_store(small_store)
    keys = tables.items["item_id"].tolist()
    answer = store.get_online_features(
        [f"item_catalogue:{n}" for n in names], [{"item_id": key} for key in keys]
    ).to_dict()
    assert answer["title"] == tables.items["title"].tolist()
    assert answer["genres"] == tables.items["genres"].map(list).tolist()
    assert answer["year"] == [None if pd.isna(year) else year for year in tables.items["year"]]


@pytest.fixture(scope="module")
def own_store(small_scenario, ingested, tmp_path_factory):
    """A store that these tests may change."""
    from feature_repo.apply import build_store

    return open_store(build_store(small_scenario, ingested, tmp_path_factory.mktemp("pushed")))


def test_push_changes_the_next_read(own_store, small_scenario):
    before, stamp = online_history(own_store, small_scenario, 10)
    assert len(before["history"]) == 10
    assert stamp < NOW
    push_event(own_store, small_scenario, 10, 77, NOW)
    after, stamp = online_history(own_store, small_scenario, 10)
    assert after["history"] == [*before["history"][1:], 77]
    assert after["seen"] == [*before["seen"], 77][-48:]
    assert stamp == NOW


def test_events_of_one_second_all_arrive_and_a_late_one_is_refused(own_store, small_scenario):
    stamps = [push_event(own_store, small_scenario, 20, item, NOW) for item in (7, 14, 21)]
    assert stamps == sorted(stamps)
    assert online_history(own_store, small_scenario, 20)[0]["history"][-3:] == [7, 14, 21]
    with pytest.raises(DataError, match="is more than 60 s before the newest event"):
        push_event(own_store, small_scenario, 20, 28, NOW - timedelta(minutes=5))
    with pytest.raises(DataError, match="has no time zone"):
        push_event(own_store, small_scenario, 20, 28, NOW.replace(tzinfo=None))
    assert online_history(own_store, small_scenario, 20)[0]["history"][-1] == 21


def test_push_starts_the_history_of_a_new_user(own_store, small_scenario):
    assert online_history(own_store, small_scenario, 4242) == ({"history": [], "seen": []}, None)
    push_event(own_store, small_scenario, 4242, 7, NOW)
    assert online_history(own_store, small_scenario, 4242)[0] == {"history": [7], "seen": [7]}


def test_the_store_can_be_read_without_this_package(small_store):
    """Serving reads the same folder and has no feature_repo: neither the YAML nor the registry may need it."""
    code = f"""
        import sys
        sys.modules["feature_repo"] = None  # any import of it now fails
        from feast import FeatureStore
        store = FeatureStore(repo_path={str(small_store)!r})
        row = {{"user_id": 10, "{REQUEST_TIME}": {int(NOW.timestamp())}}}
        features = store.get_online_features(store.get_feature_service("small_v1"), [row]).to_dict()
        assert features["daypart"] == ["evening"], features
        assert len(features["history"][0]) == 10, features
        print("read")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip().endswith("read"), done.stderr
