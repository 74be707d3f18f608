"""The TTL, and what counts as known. The reader over a real Feast store is tested in tests/e2e/test_serving.py."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from feast.protos.feast.types.Value_pb2 import Int64List, Null, Value

from polytask.contract.tensors import HISTORY, SEEN
from polytask.errors import ContractError
from polytask.scenario import Scenario
from serving.transformer.concurrency.deadline import Unavailable
from serving.transformer.features.reader import FeatureReader, UserFeatures, open_online_store, request_features

DAY = 86_400
WORDS = {"daypart": "night", "weekpart": "weekday"}


def row(scenario: Scenario, moment: int, age: int | None = 30, history: list[int] | None = None, stamped: int = 1000):
    """A user of whom both views hold something, stamped at one time; profiles live 100 days, histories 10."""
    stored, stamp = UserFeatures(moment, WORDS), datetime.fromtimestamp(stamped, UTC)
    profile = {"age": Value(), "occupation": Value()}
    if age is not None:
        profile = {"age": Value(int64_val=age), "occupation": Value(string_val="writer")}
    items = Value() if history is None else Value(int64_list_val=Int64List(val=history))
    stored.add("user_profile", ("age", "occupation"), stamp, profile, 100.0 * DAY)
    stored.add("user_history", (HISTORY, SEEN), stamp, {HISTORY: items, SEEN: items}, 10.0 * DAY)
    return stored.features(scenario.features.profile)


def test_fresh_features_are_taken(small_scenario: Scenario):
    got = row(small_scenario, 1000 + 10 * DAY, history=[7, 14])
    assert (got.known, got.stale) == (True, False)
    assert (got.history, got.seen, got.profile) == ((7, 14), (7, 14), {"age": 30, "occupation": "writer"})
    assert got.context == WORDS
    assert got.ages == {"user_profile": 10 * DAY, "user_history": 10 * DAY}


def test_what_is_older_than_its_view_allows_is_missing_and_flagged(small_scenario: Scenario):
    got = row(small_scenario, 1001 + 10 * DAY, history=[7, 14])
    assert (got.history, got.seen, got.stale, got.known) == ((), (), True, True)
    assert got.profile["age"] == 30
    assert got.ages["user_history"] == 10 * DAY + 1
    got = row(small_scenario, 1001 + 100 * DAY, history=[7])
    assert (got.profile["age"], got.stale, got.known) == (None, True, False)


def test_what_the_store_calls_present_and_is_empty_is_missing(small_scenario: Scenario):
    got = row(small_scenario, 10**9, age=None, history=None, stamped=0)
    assert (got.known, got.stale, got.history, got.ages) == (False, False, (), {})
    nothing = UserFeatures(5, WORDS)
    nothing.add("user_profile", ("age", "occupation"), None, {}, 1.0)
    assert nothing.features(small_scenario.features.profile).profile == {"age": None, "occupation": None}


def test_a_null_is_missing(small_scenario: Scenario):
    stored = UserFeatures(1000, WORDS)
    values = {"age": Value(null_val=Null.NULL), "occupation": Value(string_val="writer")}
    stored.add("user_profile", ("age", "occupation"), datetime.fromtimestamp(1000, UTC), values, 1.0)
    assert stored.features(small_scenario.features.profile).profile == {"age": None, "occupation": "writer"}


def test_a_value_of_the_future_has_no_age(small_scenario: Scenario):
    assert row(small_scenario, 0, history=[7]).ages == {"user_profile": 0, "user_history": 0}


def test_recent_items_join_history_and_seen_while_excluded_ones_are_seen_only(small_scenario: Scenario):
    stored = row(small_scenario, 1000, history=[7])
    features = request_features(10, stored, None, [21], [28], [35])
    assert (tuple(features.history), tuple(features.seen)) == ((7, 21), (7, 21, 28))
    assert tuple(features.disliked) == (35,)
    for recent, exclude, seen in (([], [28], (7, 28)), ([21], [], (7, 21)), ([], [], (7,))):
        features = request_features(10, stored, None, recent, exclude)
        assert (tuple(features.history), tuple(features.seen)) == ((7, *recent), seen)


def test_the_offline_store_is_not_opened_and_variables_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ONLINE_STORE", str(tmp_path / "online.db"))
    (tmp_path / "feature_store.yaml").write_text(
        "project: small\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store: {type: nowhere.NotInstalled}\nonline_store: {type: sqlite, path: '${ONLINE_STORE}'}\n",
        encoding="utf-8",
    )
    store = open_online_store(tmp_path)
    assert store.config.online_store.path == str(tmp_path / "online.db")
    assert store.list_feature_services() == []
    assert (tmp_path / "registry.db").is_file(), "a relative path counts from the folder"


@pytest.mark.parametrize("text", [None, "[", "5", "project: 5 5\nregistry: [x"])
def test_a_missing_or_broken_feature_store_is_told(text: str | None, tmp_path: Path):
    if text is not None:
        (tmp_path / "feature_store.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match=r"feature_store\.yaml"):
        open_online_store(tmp_path)


def test_a_sqlite_file_that_was_replaced_is_read_without_a_restart(
    small_scenario: Scenario, small_store: Path, tmp_path: Path
):
    folder = tmp_path / "store"
    shutil.copytree(small_store, folder)
    online, away = folder / "online.db", tmp_path / "away.db"
    online.rename(away)
    reader = FeatureReader(folder, small_scenario)
    with pytest.raises(Unavailable, match="no such table"):
        reader.read([10], [2_000_000_000])
    away.replace(online)
    assert reader.read([10], [2_000_000_000])[0].ages
