"""A rollout after one that was killed: nothing that serves users is deleted, and nothing stays blocked."""

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from serving.kubernetes.client import ATTEMPTS, INFERENCE_SERVICE, KUBECTL, Cluster
from serving.rollout.errors import RolloutError, RolloutStopped
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.service.revision import BUNDLE, Revision
from serving.rollout.settings import Settings
from serving.rollout.strategies.first_model import FIRST, stopped
from tests.serving.rollout.conftest import NAMESPACE, SERVICE, State, address, live
from tests.serving.rollout.dying import MODEL, patches

Make = Callable[..., RolloutRelease]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, lease_seconds=0.5)


@pytest.mark.parametrize("version", [1, 2])
def test_a_first_rollout_that_died_before_it_started_the_service_is_taken_up(
    version: int, cluster: Cluster, settings: Settings, state: State, release: Make, die: Callable[..., None]
):
    cluster.apply(INFERENCE_SERVICE, stopped(SERVICE), manager=FIRST)
    cluster.apply(INFERENCE_SERVICE, SERVICE, manager=KUBECTL)
    die(release(1), patches("/inferenceservices/recommender"))
    assert roll_out(cluster, release(version), settings).action == "deployed"
    assert address(state) == MODEL.format(version)


def test_a_first_model_that_came_up_after_its_rollout_died_is_gone_back_to(
    installed: Cluster, state: State, settings: Settings, release: Make, die: Callable[..., None]
):
    die(release(1), patches("/inferenceservices/recommender"))
    for _ in range(8):
        state.get(f"/apis/serving.kserve.io/v1beta1/namespaces/{NAMESPACE}/inferenceservices/recommender")
    assert "recommender" in state.running
    with pytest.raises(RolloutError, match=r"serves model 1 from .* again"):
        roll_out(installed, release(2, "s3://models/mute"), settings)
    assert address(state) == MODEL.format(1)


def test_a_change_whose_answer_was_lost_is_taken_back(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    send = installed._send
    lost = []

    def lose(method: str, path: str, query: Any, body: Any) -> Any:
        """The API server makes the change, and no response of it arrives."""
        response = send(method, path, query, body)
        if method == "PATCH" and "mute" in str(body) and len(lost) < ATTEMPTS:
            lost.append(path)
            raise httpx.ReadTimeout("timed out")
        return response

    installed._send = lose  # type: ignore[method-assign]
    with pytest.raises(RolloutError, match=r"the API server does not respond: timed out; serves model 1 from .* again"):
        roll_out(installed, release(2, "s3://models/mute"), replace(settings, strategy="recreate"))
    assert address(state) == MODEL.format(1)


def test_a_change_that_was_never_made_is_not_taken_back(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    send = installed._send

    def fail(method: str, path: str, query: Any, body: Any) -> Any:
        if method == "PATCH" and "small/2" in str(body):
            raise httpx.ConnectError("no route to host")
        return send(method, path, query, body)

    installed._send = fail  # type: ignore[method-assign]
    with pytest.raises(RolloutError, match="no route to host; nothing was changed"):
        roll_out(installed, release(2), replace(settings, strategy="recreate"))
    assert address(state) == MODEL.format(1)


def test_a_stopped_rollback_leaves_the_model_before(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "going back to model 1" in record.getMessage():
                os.kill(os.getpid(), signal.SIGTERM)

    handler = Watch()
    logger = logging.getLogger("serving.rollout.strategies.in_place")
    logger.addHandler(handler)
    try:
        with pytest.raises(RolloutStopped):
            roll_out(installed, release(2, "s3://models/mute"), settings)
    finally:
        logger.removeHandler(handler)
    assert address(state) == MODEL.format(1)
    assert state.events[-1]["reason"] == "RolloutStopped"


def test_another_address_of_the_same_model_is_waited_for(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    with pytest.raises(RolloutError, match="BlockedByFailedLoad"):
        roll_out(installed, release(1, "s3://models/broken"), settings)
    assert address(state) == MODEL.format(1)


def test_a_model_that_somebody_else_deployed_after_a_death_is_the_one_before(
    installed: Cluster, state: State, settings: Settings, release: Make, die: Callable[..., None]
):
    """By a deploy step that keeps no record, so that no field conflicts."""
    roll_out(installed, release(1), settings)
    die(release(2), patches("/inferenceservices/recommender", 2))
    installed.apply(INFERENCE_SERVICE, Revision.of_release(release(3), "rolling").fields("recommender"))
    before = len(state.writes)
    addresses = []
    apply = state.apply

    def watch(path: str, *arguments: Any) -> Any:
        result = apply(path, *arguments)
        addresses.append(address(state))
        return result

    state.apply = watch  # type: ignore[method-assign]
    with pytest.raises(RolloutError, match=r"serves model 3 from .* again"):
        roll_out(installed, release(4, "s3://models/mute"), settings)
    assert len(state.writes) > before
    assert MODEL.format(1) not in addresses


def test_going_back_for_a_dead_rollout_ends_with_the_model_before_when_it_is_stopped(
    installed: Cluster, state: State, settings: Settings, release: Make, die: Callable[..., None]
):
    roll_out(installed, release(1), settings)
    # In the second phase; then it is ready, so that going back has two phases too.
    die(release(2), patches("/inferenceservices/recommender", 2))
    for _ in range(8):
        state.get(f"/apis/serving.kserve.io/v1beta1/namespaces/{NAMESPACE}/inferenceservices/recommender")
    apply = state.apply

    def stop(path: str, document: Any, *arguments: Any) -> Any:
        if "," in str(document["spec"].get("transformer", {}).get("annotations", {}).get(BUNDLE)):
            os.kill(os.getpid(), signal.SIGTERM)
        return apply(path, document, *arguments)

    state.apply = stop  # type: ignore[method-assign]
    with pytest.raises(RolloutStopped):
        roll_out(installed, release(3), settings)
    assert address(state) == MODEL.format(1)
    assert "," not in live(state)["spec"]["transformer"]["annotations"][BUNDLE]
    assert state.events[-1]["reason"] == "RolloutStopped"


@pytest.mark.parametrize("late", [True, False])
def test_pods_that_are_missing_for_a_moment_do_not_make_it_one_phase(
    late: bool, installed: Cluster, state: State, settings: Settings, release: Make
):
    """Such as those of an autoscaler, or of a node that is drained; where they never come, there is one phase."""
    roll_out(installed, release(1), settings)
    deployment = state.deployment
    until = time.monotonic() + (0.2 if late else 60)
    bundles = []

    def one_missing(name: str) -> dict[str, Any]:
        made = deployment(name)
        if address(state) == MODEL.format(1) and time.monotonic() < until:
            made["spec"]["replicas"] = made["status"]["replicas"] = made["status"]["updatedReplicas"] = 2
        return made

    apply = state.apply

    def watch(path: str, document: Any, *arguments: Any) -> Any:
        bundles.append(document["spec"].get("transformer", {}).get("annotations", {}).get(BUNDLE, ""))
        return apply(path, document, *arguments)

    state.deployment = one_missing  # type: ignore[method-assign]
    state.apply = watch  # type: ignore[method-assign]
    assert roll_out(installed, release(2), settings).action == "deployed"
    assert any("," in one for one in bundles) == late
