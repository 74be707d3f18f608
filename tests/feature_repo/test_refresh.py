"""Refreshing a filled store: new events and changed profiles are online, and histories are not written again."""

import shutil
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.redis_server import RedisServer
from feature_repo import apply
from feature_repo.apply import build_store
from feature_repo.sources import ITEM_CATALOGUE, USER_HISTORY, USER_PROFILE
from feature_repo.store import open_store
from polytask.data.tables import Tables, write_tables
from polytask.scenario import Scenario
from serving.transformer.features.reader import FeatureReader

LATE = timedelta(hours=24)
NEW_ITEM = 7 * 60


@pytest.fixture(scope="module")
def newer(tables: Tables) -> Tables:
    """The tables a day later: the first user has one more event and another occupation."""
    last = tables.interactions.iloc[[-1]].assign(
        event_id=len(tables.interactions),
        user_id=10,
        item_id=NEW_ITEM,
        timestamp=tables.interactions["timestamp"].max() + pd.Timedelta("1d"),
    )
    users = tables.users.assign(occupation=tables.users["occupation"].where(tables.users["user_id"] != 10, "baker"))
    return tables._replace(users=users, interactions=pd.concat([tables.interactions, last], ignore_index=True))


def test_only_what_is_new_is_written(
    small_store: Path, small_scenario: Scenario, tables: Tables, newer: Tables, tmp_path: Path, monkeypatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(small_store, store)
    write_tables(newer, tmp_path / "tables")
    before = tables.interactions["timestamp"].max()
    written: dict[tuple[str, ...], tuple[pd.Timestamp, pd.Timestamp]] = {}
    real = apply._materialize

    def noted(where, views, first, last):
        written[tuple(views)] = (pd.Timestamp(first), pd.Timestamp(last))
        real(where, views, first, last)

    monkeypatch.setattr(apply, "_materialize", noted)
    build_store(small_scenario, tmp_path / "tables", store, late=LATE)
    # A history is stamped just after its event.
    first, last = written[(USER_HISTORY,)]
    assert abs(first - (before - LATE)) < pd.Timedelta(1, "s")
    assert last > before + pd.Timedelta("23h")
    assert set(written) == {(USER_HISTORY,), (USER_PROFILE, ITEM_CATALOGUE)}

    moment = int((newer.interactions["timestamp"].max() + pd.Timedelta("1h")).timestamp())
    users = newer.users["user_id"].tolist()
    old, new = (
        FeatureReader(folder, small_scenario).read(users, [moment] * len(users)) for folder in (small_store, store)
    )
    assert new[0].history[-1] == NEW_ITEM
    assert new[0].profile["occupation"] == "baker"
    assert old[0].history[-1] != NEW_ITEM
    assert [row.history for row in new[1:]] == [row.history for row in old[1:]]
    intervals = open_store(store).get_feature_view(USER_HISTORY).materialization_intervals
    assert len(intervals) == 2


def test_an_empty_store_is_filled_whole(small_scenario: Scenario, ingested: Path, tmp_path: Path, monkeypatch) -> None:
    written = []
    monkeypatch.setattr(apply, "_materialize", lambda store, views, first, last: written.append(views))
    build_store(small_scenario, ingested, tmp_path / "store", late=LATE)
    assert written == [[USER_HISTORY], [USER_PROFILE, ITEM_CATALOGUE]]


def test_a_changed_past_is_written_again(
    small_store: Path, small_scenario: Scenario, tables: Tables, newer: Tables, tmp_path: Path
) -> None:
    """The second tables lack an old event of a user: a refresh that writes only what is new would keep it online."""
    store = tmp_path / "store"
    shutil.copytree(small_store, store)
    first = tables.interactions[tables.interactions["user_id"] == 10].iloc[0]["event_id"]
    kept = newer.interactions[newer.interactions["event_id"] != first]
    moment = int((newer.interactions["timestamp"].max() + pd.Timedelta("1h")).timestamp())

    def seen(interactions: pd.DataFrame) -> tuple:
        write_tables(newer._replace(interactions=interactions), tmp_path / "tables")
        build_store(small_scenario, tmp_path / "tables", store, late=LATE)
        return FeatureReader(store, small_scenario).read([20], [moment])[0].seen

    changed = kept[(kept["user_id"] != 20) | (kept.index % 2 == 0)]
    expected = changed[changed["user_id"] == 20]["item_id"].tolist()
    assert list(seen(changed)) == expected


def test_redis_gets_changed_profiles_too(
    small_scenario: Scenario, tables: Tables, newer: Tables, tmp_path: Path
) -> None:
    """All profiles carry one stamp, and Feast's Redis store keeps a row of an equal stamp without an error."""
    with RedisServer(tmp_path / "redis") as redis:
        settings = tmp_path / "feature_store.yaml"
        settings.write_text(
            f"project: small\nprovider: local\nregistry: {tmp_path / 'registry.db'}\n"
            f"online_store: {{type: redis, connection_string: '{redis.address}'}}\n"
            "entity_key_serialization_version: 3\n",
            encoding="utf-8",
        )
        occupations = []
        for number, users in enumerate((tables.users, newer.users, tables.users)):
            write_tables(tables._replace(users=users), tmp_path / str(number))
            store = build_store(small_scenario, tmp_path / str(number), tmp_path / "store", settings)
            found = FeatureReader(store, small_scenario).read([10], [1_713_000_000])[0]
            occupations.append(found.profile["occupation"])
            assert len(found.history) == 10
    assert occupations == [tables.users["occupation"][0], "baker", tables.users["occupation"][0]]
