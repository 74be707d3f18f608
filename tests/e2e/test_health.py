"""Readiness without one of the parts: it goes with the reason, and comes back by itself."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_repo.apply import build_store
from polytask.scenario import Scenario
from serving.local import LocalStack
from serving.redis import RedisServer
from serving.triton.install import TritonInstallation
from tests.e2e.test_stress import over_grpc, ready, wait_for


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), keep_data=True) as server:
        yield server


@pytest.fixture(scope="module")
def stack(
    redis: RedisServer,
    small_bundle: Path,
    small_scenario: Scenario,
    ingested: Path,
    triton_installation: TritonInstallation,
    tmp_path_factory,
) -> Iterator[LocalStack]:
    """A stack whose features lie in Redis."""
    folder = tmp_path_factory.mktemp("store")
    settings = folder / "settings.yaml"
    settings.write_text(
        f"project: {small_scenario.name}\nprovider: local\nregistry: {folder / 'registry.db'}\n"
        f'online_store: {{type: redis, connection_string: "{redis.address}"}}\nentity_key_serialization_version: 3\n'
    )
    store = build_store(small_scenario, ingested, folder / "store", settings)
    with LocalStack(
        small_bundle, store, installation=triton_installation, logs=folder / "logs", deadline_seconds=1.0
    ) as stack:
        yield stack


def test_without_the_feature_store_it_is_unready_until_it_returns(stack: LocalStack, redis: RedisServer):
    assert (ready(stack), over_grpc(stack)) == ((200, ""), "OK")
    redis.stop()
    try:
        wait_for(lambda: ready(stack)[0] == 503, "still ready without the feature store", seconds=6)
        assert "feature store" in ready(stack)[1]
        assert "predictor" not in ready(stack)[1]
        assert over_grpc(stack) == "UNAVAILABLE"
    finally:
        redis.start()
    wait_for(lambda: ready(stack)[0] == 200, "the feature store was not found again")
    assert over_grpc(stack) == "OK"


def test_without_triton_it_is_unready_until_it_returns(stack: LocalStack):
    os.killpg(stack.triton.process_id, signal.SIGKILL)
    try:
        wait_for(lambda: ready(stack)[0] == 503, "still ready without Triton", seconds=6)
        assert "predictor" in ready(stack)[1]
        assert "feature store" not in ready(stack)[1]
    finally:
        stack.triton.stop()
        stack.triton.start()
    wait_for(lambda: ready(stack)[0] == 200, "Triton was not found again")
    assert over_grpc(stack) == "OK"
