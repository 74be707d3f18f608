"""Without the feature store responses are degraded, or the pod is not ready; without Triton no pod is."""

import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.redis_server import RedisServer
from feature_repo.apply import build_store
from polytask.scenario import Scenario
from serving.local.install import TritonInstallation
from serving.local.stack import LocalStack
from tests.e2e.test_stress import over_grpc, ready, wait_for


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), keep_data=True) as server:
        yield server


@contextmanager
def running(
    redis: RedisServer, bundle: Path, scenario: Scenario, ingested: Path, triton: TritonInstallation, folder: Path,
    strict: bool,
) -> Iterator[LocalStack]:  # fmt: skip
    """A stack whose features are in Redis."""
    settings = folder / "settings.yaml"
    settings.write_text(
        f"project: {scenario.name}\nprovider: local\nregistry: {folder / 'registry.db'}\n"
        f'online_store: {{type: redis, connection_string: "{redis.address}"}}\nentity_key_serialization_version: 3\n'
    )
    store = build_store(scenario, ingested, folder / "store", settings)
    with LocalStack(
        bundle, store, installation=triton, logs=folder / "logs", deadline_seconds=1.0, strict_features=strict
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
def stack(
    redis: RedisServer,
    small_bundle: Path,
    small_scenario: Scenario,
    ingested: Path,
    triton_installation: TritonInstallation,
    tmp_path_factory,
) -> Iterator[LocalStack]:
    """A stack that serves without the feature store."""
    folder = tmp_path_factory.mktemp("degrading")
    with running(redis, small_bundle, small_scenario, ingested, triton_installation, folder, strict=False) as stack:
        yield stack


@pytest.fixture
def strict_stack(
    redis: RedisServer,
    small_bundle: Path,
    small_scenario: Scenario,
    ingested: Path,
    triton_installation: TritonInstallation,
    tmp_path: Path,
) -> Iterator[LocalStack]:
    """It does not."""
    with running(redis, small_bundle, small_scenario, ingested, triton_installation, tmp_path, strict=True) as stack:
        yield stack


def requested(stack: LocalStack) -> dict[str, list]:
    """The response to one user who has a history, by tensor."""
    body = {"inputs": [{"name": "user_id", "datatype": "INT64", "shape": [1, 1], "data": [10]}]}
    request = urllib.request.Request(
        f"{stack.rest_url}/v2/models/recommender/infer", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return {output["name"]: output["data"] for output in json.loads(response.read())["outputs"]}


def count(stack: LocalStack, name: str) -> float:
    """The value of a metric without labels."""
    with urllib.request.urlopen(f"{stack.rest_url}/metrics", timeout=10) as response:
        found = re.search(rf"^{name} (\S+)$", response.read().decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def lines_about_features(stack: LocalStack) -> list[str]:
    return re.findall(r"features: (\w+)", (stack.logs / "transformer.log").read_text(encoding="utf-8"))


def test_without_the_feature_store_responses_are_degraded_and_the_pod_stays_ready(
    stack: LocalStack, redis: RedisServer
):
    complete = requested(stack)
    assert (complete["degraded"], complete["cold_start"]) == ([False], [False])
    cold, logged = count(stack, "polytask_cold_starts_total"), len(lines_about_features(stack))
    redis.stop()
    try:
        for _ in range(20):
            assert ready(stack) == (200, "")
            degraded = requested(stack)
            assert (degraded["degraded"], degraded["cold_start"]) == ([True], [False])
            assert len(degraded["item_ids"]) == len(complete["item_ids"])
        assert over_grpc(stack) == "OK"
    finally:
        redis.start()
    wait_for(lambda: requested(stack)["degraded"] == [False], "the feature store was not found again")
    assert requested(stack)["item_ids"] == complete["item_ids"]
    assert count(stack, "polytask_degraded_responses_total") >= 21
    assert count(stack, "polytask_cold_starts_total") == cold
    assert lines_about_features(stack)[logged:] == ["unavailable", "available"]


def test_without_the_feature_store_a_strict_pod_is_unready_until_it_returns(
    strict_stack: LocalStack, redis: RedisServer
):
    stack = strict_stack
    assert (ready(stack), over_grpc(stack)) == ((200, ""), "OK")
    redis.stop()
    try:
        wait_for(lambda: ready(stack)[0] == 503, "still ready without the feature store", seconds=6)
        assert "feature store" in ready(stack)[1]
        assert "predictor" not in ready(stack)[1]
        # Redis' client tries again by itself, for longer than the deadline of 1 s on a busy machine.
        assert over_grpc(stack) in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
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
