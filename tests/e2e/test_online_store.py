"""The feature look-up over real Feast stores: SQLite and Redis alike, fresh events, a changed registry."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.feature_lookup import RawRedis
from benchmarks.redis_server import RedisServer
from benchmarks.redis_store import fill_redis
from feature_repo.apply import apply_definitions
from feature_repo.push import push_event
from feature_repo.store import open_store
from polytask.errors import ContractError
from polytask.scenario import Scenario
from serving.transformer.concurrency.deadline import Unavailable
from serving.transformer.features.reader import FeatureReader, OnlineFeatures

MOMENT = 1_720_000_000
USERS = [10, 20, 999_999, 300]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def redis_store(
    small_scenario: Scenario, small_store: Path, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return fill_redis(small_scenario, small_store, redis, tmp_path_factory.mktemp("store"))


def test_redis_and_sqlite_answer_what_feasts_own_look_up_does(
    small_scenario: Scenario, small_store: Path, redis_store: Path
):
    moments = [MOMENT] * len(USERS)
    one, other = (FeatureReader(folder, small_scenario).read(USERS, moments) for folder in (redis_store, small_store))
    for row, same in zip(one, other, strict=True):
        assert row.ages == pytest.approx(same.ages, abs=1)  # one of them keeps whole seconds
        assert replace(row, ages={}) == replace(same, ages={})
    assert [row.known for row in one] == [True, True, False, True]
    store = open_store(small_store)
    service = store.get_feature_service(small_scenario.feature_service)
    rows = {"user_id": USERS, "request_time": moments}
    values = store.get_online_features(features=service, entity_rows=rows).to_dict()
    for position, row in enumerate(one):
        assert (list(row.history), list(row.seen)) == tuple(
            values[name][position] or [] for name in ("history", "seen")
        )
        assert row.profile == {name: values[name][position] for name in ("age", "occupation")}
        assert row.context == {name: values[name][position] for name in ("daypart", "weekpart")}


def test_an_event_loop_reads_what_a_thread_does(small_scenario: Scenario, small_store: Path, redis_store: Path):
    reader = FeatureReader(redis_store, small_scenario)
    moments = [MOMENT] * len(USERS)

    async def several() -> list[list[OnlineFeatures]]:
        assert reader.in_loop is not None
        found = [await reader.in_loop(USERS, moments), *await asyncio.gather(reader.in_loop([20], [5]))]
        await reader.close()
        return found

    every, one = asyncio.run(several())
    assert every == reader.read(USERS, moments)
    assert one == reader.read([20], [5])
    assert FeatureReader(small_store, small_scenario).in_loop is None  # SQLite blocks


def test_an_event_loop_is_told_of_a_redis_that_is_away_and_reads_again_once_it_is_back(
    small_scenario: Scenario, small_store: Path, tmp_path: Path
):
    with RedisServer(tmp_path / "redis", keep_data=True) as redis:
        reader = FeatureReader(fill_redis(small_scenario, small_store, redis, tmp_path / "store"), small_scenario)
        assert reader.in_loop is not None
        read = reader.in_loop

        async def run() -> None:
            before = await read([10], [MOMENT])
            redis.stop()
            with pytest.raises(Unavailable, match="feature store: ConnectionError"):
                await read([10], [MOMENT])
            redis.start()
            assert await read([10], [MOMENT]) == before
            await reader.close()

        asyncio.run(run())


def test_a_pushed_event_is_in_the_next_look_up(small_scenario: Scenario, redis_store: Path):
    reader = FeatureReader(redis_store, small_scenario)
    before = reader.read([30], [MOMENT])[0]
    push_event(open_store(redis_store), small_scenario, 30, 7, datetime.fromtimestamp(MOMENT - 5, UTC))
    after = reader.read([30], [MOMENT])[0]
    assert (after.history[-1], after.seen[-1]) == (7, 7)
    assert (after.history[:-1], after.profile) == (before.history[1:], before.profile)
    assert after.ages["user_history"] < 10 < before.ages["user_history"]


def test_a_changed_ttl_counts_after_a_refresh_and_a_misfit_changes_nothing(
    small_scenario: Scenario, small_store: Path, tmp_path: Path
):
    folder = shutil.copytree(small_store, tmp_path / "store")
    reader = FeatureReader(folder, small_scenario)
    assert not reader.read([10], [MOMENT])[0].stale
    assert not reader.refresh()
    short = small_scenario.features.model_copy(update={"history_ttl_days": 1.0})
    apply_definitions(open_store(folder), small_scenario.model_copy(update={"features": short}), folder)
    heard: list[str] = []
    reported = threading.Event()
    reader.keep_fresh(0.05, lambda end: (heard.append(end), reported.set()))
    try:
        assert reported.wait(20)
    finally:
        asyncio.run(reader.close())
    assert heard[0] == "ok"
    row = reader.read([10], [MOMENT])[0]
    assert (row.stale, row.history, row.profile["age"] is None) == (True, (), False)
    fewer = small_scenario.features.model_copy(update={"profile": ("age",)})
    apply_definitions(open_store(folder), small_scenario.model_copy(update={"features": fewer}), folder)
    with pytest.raises(ContractError, match="the contract requires age, "):
        reader.refresh()
    assert reader.read([10], [MOMENT])[0].profile["occupation"] is not None


def test_the_benchmarks_raw_read_finds_what_the_reader_finds(
    small_scenario: Scenario, redis_store: Path, redis: RedisServer
):
    raw = RawRedis(redis, small_scenario, FeatureReader(redis_store, small_scenario))
    # Two views each; no view has rows of the third user.
    assert [raw.read([10]), raw.read(USERS)] == [2, 6]
