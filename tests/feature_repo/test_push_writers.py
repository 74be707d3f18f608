"""Several writers of one user's history: every event is kept once, in processes of their own, by SQLite and Redis."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from feast import FeatureStore

from benchmarks.redis_server import RedisServer
from feature_repo import history_writers
from feature_repo.apply import build_store
from feature_repo.push import online_history, push_event
from feature_repo.store import open_store
from polytask.errors import DataError
from polytask.scenario import Scenario
from serving.transformer.features.reader import FeatureReader

USER = 10
EVENTS = 40
NOW = datetime(2026, 6, 6, 20, 30, tzinfo=UTC)
# Pushes its own items of one user, every event twice; before the first half and before the second it waits for a line.
WRITER = """
import json, sys
from datetime import datetime
from pathlib import Path
from feature_repo.push import push_event
from feature_repo.store import open_store
from polytask.scenario.schema import Scenario

folder, scenario, user, items, moment = json.loads(sys.argv[1])
store, scenario = open_store(Path(folder)), Scenario.model_validate(scenario)
moment = datetime.fromisoformat(moment)
store.get_feature_view("user_history")
for half in (items[: len(items) // 2], items[len(items) // 2 :]):
    print("ready", flush=True)
    sys.stdin.readline()
    for item in half:
        for _ in range(2):
            push_event(store, scenario, user, item, moment, event_id=f"event-{item}")
"""


@pytest.fixture
def scenario(small_scenario: Scenario) -> Scenario:
    """The small scenario with histories that all events of the test fit into."""
    features = small_scenario.features.model_copy(update={"history_length": 1000, "exclude_length": 1000})
    return small_scenario.model_copy(update={"features": features})


@pytest.fixture(scope="module")
def redis_store(small_scenario: Scenario, ingested: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("redis-store")
    with RedisServer(folder / "redis") as redis:
        settings = folder / "feature_store.yaml"
        settings.write_text(
            f"project: small\nprovider: local\nregistry: {folder / 'registry.db'}\n"
            f"online_store: {{type: redis, connection_string: '{redis.address}'}}\n"
            "entity_key_serialization_version: 3\n",
            encoding="utf-8",
        )
        yield build_store(small_scenario, ingested, folder / "store", settings)


@pytest.fixture(params=["sqlite", "redis"])
def folder(request: pytest.FixtureRequest, small_store: Path, tmp_path: Path) -> Path:
    """A store that these tests may change."""
    if request.param == "sqlite":
        shutil.copytree(small_store, tmp_path / "store")
        return tmp_path / "store"
    found: Path = request.getfixturevalue("redis_store")
    return found


@pytest.fixture
def store(folder: Path) -> FeatureStore:
    return open_store(folder)


@pytest.mark.timeout(400)
def test_two_processes_lose_and_double_nothing(folder: Path, store: FeatureStore, scenario: Scenario) -> None:
    before, _ = online_history(store, scenario, USER)
    lists = [list(range(start, start + EVENTS)) for start in (10_000, 20_000)]
    given = json.dumps([str(folder), scenario.model_dump(mode="json"), USER, lists[0], NOW.isoformat()])
    other = subprocess.Popen(
        [sys.executable, "-c", WRITER, given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdin is not None
        assert other.stdout is not None
        for half in (lists[1][: EVENTS // 2], lists[1][EVENTS // 2 :]):
            assert other.stdout.readline() == "ready\n"
            other.stdin.write("go\n")
            other.stdin.flush()
            for item in half:
                push_event(store, scenario, USER, item, NOW, event_id=f"event-{item}")
        other.communicate(timeout=60)
    finally:
        other.kill()
        other.wait(timeout=10)
    assert other.returncode == 0
    after, _ = online_history(store, scenario, USER)
    pushed = after["history"][len(before["history"]) :]
    assert after["history"][: len(before["history"])] == before["history"]
    assert sorted(pushed) == sorted([*lists[0], *lists[1]])
    for items in lists:  # each writer's own order
        assert [item for item in pushed if item in items] == items
    # As serving reads it.
    (read,) = FeatureReader(folder, scenario).read([USER], [int(NOW.timestamp()) + 5])
    assert list(read.history) == after["history"]
    assert read.ages["user_history"] < 6


def test_a_repeated_event_changes_nothing(store: FeatureStore, scenario: Scenario) -> None:
    first = push_event(store, scenario, 20, 7, NOW)
    second = push_event(store, scenario, 20, 14, NOW + timedelta(seconds=3))
    for _ in range(2):
        again = push_event(store, scenario, 20, 7, NOW)  # SQLite has whole seconds
        assert again.replace(microsecond=0) == second.replace(microsecond=0) > first
    assert online_history(store, scenario, 20)[0]["history"][-2:] == [7, 14]
    # The same item at another time is another event; with an id the id alone counts.
    push_event(store, scenario, 20, 7, NOW + timedelta(seconds=4))
    push_event(store, scenario, 20, 7, NOW + timedelta(seconds=5), event_id="a")
    push_event(store, scenario, 20, 7, NOW + timedelta(seconds=6), event_id="a")
    assert online_history(store, scenario, 20)[0]["history"][-4:] == [7, 14, 7, 7]


def test_many_events_of_one_second_are_no_late_ones(store: FeatureStore, scenario: Scenario) -> None:
    stamps = [push_event(store, scenario, 30, 1000 + number, NOW) for number in range(70)]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] < timedelta(seconds=1)
    assert online_history(store, scenario, 30)[0]["history"][-70:] == list(range(1000, 1070))


def test_the_events_that_are_remembered_are_bounded(
    store: FeatureStore, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_writers, "REMEMBERED_EVENTS", 3)
    for number in (0, 1, 2, 3, 3, 0):
        push_event(store, scenario, 40, 2000 + number, NOW)
    assert online_history(store, scenario, 40)[0]["history"][-5:] == [2000, 2001, 2002, 2003, 2000]


@pytest.mark.parametrize(("user", "item"), [("10", 7), (10, "7"), (True, 7), (10, 7.0)])
def test_keys_of_another_type_are_refused(store: FeatureStore, scenario: Scenario, user: object, item: object) -> None:
    with pytest.raises(DataError, match=r"(user|item): is of type (str|bool|float); allowed: integer"):
        push_event(store, scenario, user, item, NOW)


def test_a_store_that_others_keep_busy_is_an_error(
    small_store: Path, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_store, tmp_path / "store")
    store = open_store(tmp_path / "store")
    monkeypatch.setattr(history_writers, "DEADLINE_SECONDS", 0.1)
    before = online_history(store, scenario, USER)
    store.provider.online_store._get_conn(store.config).execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(tmp_path / "store" / "online.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError, match=r"kept the online store busy for 0\.1 s .* push it again"):
            push_event(store, scenario, USER, 7, NOW)
        other.rollback()
    assert online_history(store, scenario, USER) == before
    push_event(store, scenario, USER, 7, NOW)


def test_a_row_of_the_batch_is_no_longer_that_of_the_events(
    small_store: Path, scenario: Scenario, ingested: Path, tmp_path: Path
) -> None:
    """The batch wrote a history without the event: its repetition restores it."""
    shutil.copytree(small_store, tmp_path / "store")
    push_event(open_store(tmp_path / "store"), scenario, USER, 7, NOW)
    build_store(scenario, ingested, tmp_path / "store")
    store = open_store(tmp_path / "store")
    assert online_history(store, scenario, USER)[1] != NOW
    push_event(store, scenario, USER, 7, NOW)
    assert online_history(store, scenario, USER)[0]["history"][-1] == 7
