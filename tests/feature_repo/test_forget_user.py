"""Deletion of one user, and no other, from the sources and the online store: SQLite, Redis, any other."""

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.redis_server import RedisServer
from benchmarks.redis_store import fill_redis
from feature_repo.apply import build_store
from feature_repo.forget_user import (
    online_rows,
    remove_from_online_store,
    remove_from_sources,
    rows_in_sources,
    tables_elsewhere,
)
from feature_repo.history_writers import EVENTS_TABLE
from feature_repo.push import online_history, push_event
from feature_repo.sources import USER_HISTORY, USER_PROFILE, source_file
from feature_repo.store import open_store
from polytask.errors import DataError

USER, OTHER = 20, 40


@pytest.fixture
def store(small_scenario, ingested, tmp_path) -> Path:
    return build_store(small_scenario, ingested, tmp_path / "store")


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def test_the_sources_keep_all_other_rows(store, small_scenario):
    files = {view: source_file(store, view) for view in (USER_PROFILE, USER_HISTORY)}
    before = {view: pd.read_parquet(path) for view, path in files.items()}
    assert set(rows_in_sources(store, small_scenario, USER)) == set(files.values())
    remove_from_sources(store, small_scenario, USER)
    assert rows_in_sources(store, small_scenario, USER) == {}
    for view, path in files.items():
        expected = before[view][before[view]["user_id"] != USER].reset_index(drop=True)
        pd.testing.assert_frame_equal(pd.read_parquet(path), expected)
    assert tables_elsewhere(store, small_scenario) == []


def test_sqlite_keeps_no_byte_of_the_key(store, small_scenario):
    key = struct.pack("<q", USER)
    marked = b"user_id" + b"\x04\x00\x00\x00\x08\x00\x00\x00" + key  # as Feast serializes an entity's key
    assert marked in (store / "online.db").read_bytes(), "the test looks for what Feast writes"
    for user in (USER, OTHER):  # what is remembered of pushed events has the key too
        push_event(open_store(store), small_scenario, user, 3, datetime(2030, 1, 1, tzinfo=UTC))
    found = online_rows(store, small_scenario, USER)
    assert found is not None and (found.store, found.views) == ("sqlite", (USER_PROFILE, USER_HISTORY))
    remove_from_online_store(store, small_scenario, USER)
    assert online_rows(store, small_scenario, USER) is None
    assert marked not in (store / "online.db").read_bytes()
    assert online_history(open_store(store), small_scenario, OTHER)[0]["history"][-1] == 3
    with sqlite3.connect(store / "online.db") as database:
        assert database.execute(f"SELECT count(*) FROM {EVENTS_TABLE}").fetchone() == (1,)
    remove_from_online_store(store, small_scenario, USER)  # a second time there is nothing to do


def test_sqlite_that_another_process_holds_is_an_error(store, small_scenario, monkeypatch):
    monkeypatch.setattr("feature_repo.forget_user.LOCK_SECONDS", 0)
    with closing(sqlite3.connect(store / "online.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError, match=r"online store of .*: database is locked; stop what writes to it"):
            remove_from_online_store(store, small_scenario, USER)
    remove_from_online_store(store, small_scenario, USER)
    assert online_rows(store, small_scenario, USER) is None


def test_redis_loses_the_users_hash_alone(small_scenario, small_store, redis, tmp_path):
    import redis as client_library

    folder = fill_redis(small_scenario, small_store, redis, tmp_path / "store")
    client = client_library.Redis.from_url(f"redis://{redis.address}")
    before = client.dbsize()
    found = online_rows(folder, small_scenario, USER)
    assert found is not None and found.store == "redis"
    remove_from_online_store(folder, small_scenario, USER)
    assert client.dbsize() == before - 1
    assert not [key for key in client.scan_iter() if b"user_id" in key and struct.pack("<q", USER) in key]
    assert online_rows(folder, small_scenario, USER) is None
    assert len(online_history(open_store(folder), small_scenario, OTHER)[0]["history"]) == 10


def test_another_store_keeps_the_key_and_loses_the_values(store, small_scenario, monkeypatch):
    class Unknown:
        """A store of which only the interface of Feast is known."""

        def __init__(self, real):
            self.online_read, self.online_write_batch = real.online_read, real.online_write_batch

    monkeypatch.setattr("feature_repo.forget_user._online_store", lambda s: Unknown(s._get_provider().online_store))
    found = online_rows(store, small_scenario, USER)
    assert found is not None and "the key stays" in found.action
    remove_from_online_store(store, small_scenario, USER)
    assert online_rows(store, small_scenario, USER) is None
    assert online_history(open_store(store), small_scenario, USER)[0] == {"history": [], "seen": []}


def test_a_store_that_is_unavailable_is_an_error(small_scenario, small_store, redis, tmp_path):
    with RedisServer(tmp_path / "redis") as own:
        folder = fill_redis(small_scenario, small_store, own, tmp_path / "store")
    with pytest.raises(DataError, match=r"online store of .*: cannot be read"):
        online_rows(folder, small_scenario, USER)
