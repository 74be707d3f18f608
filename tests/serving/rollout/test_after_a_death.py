"""What a rollout finds after one that died: nothing that serves users is taken away, and nothing stays stuck."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from kubernetes.client import Configuration

from serving.kubernetes.client import ATTEMPTS, INFERENCE_SERVICE, KUBECTL, Cluster
from serving.rollout.errors import RolloutError, RolloutStopped
from serving.rollout.release import Release
from serving.rollout.roll_out import roll_out
from serving.rollout.service.revision import BUNDLE, Revision
from serving.rollout.settings import Settings
from serving.rollout.strategies.first_model import FIRST, stopped
from tests.serving.rollout.api_server import Server
from tests.serving.rollout.conftest import NAMESPACE, SERVICE, State, address, live

Make = Callable[..., Release]
MODEL = "s3://models/small/{}/repository"


class Died(BaseException):
    """A process that was killed: nothing is put right afterwards."""


class Dying(Cluster):
    """Makes no call any more once `ends` was true of a write that was made."""

    def __init__(self, url: str, ends: Callable[[str, str], bool]) -> None:
        super().__init__(Configuration(host=url), NAMESPACE, retry_seconds=0.01)
        self._ends = ends
        self._dead = False

    def _send(self, method: str, path: str, query: Any, body: Any) -> Any:
        if self._dead:
            raise Died if threading.current_thread() is threading.main_thread() else RolloutError("dead")
        response = super()._send(method, path, query, body)
        if method != "GET" and "dryRun" not in query and self._ends(method, path):
            self._dead = True
            raise Died
        return response


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, lease_seconds=0.5)


@pytest.fixture
def die(server: Server, settings: Settings) -> Callable[..., None]:
    """A rollout that is killed once `ends` is true of a write: method and path."""

    def die(release: Release, ends: Callable[[str, str], bool], **changes: Any) -> None:
        cluster = Dying(server.url, ends)
        with pytest.raises(Died):
            roll_out(cluster, release, replace(settings, **changes))
        cluster.close()

    return die


def patches(path: str, number: int = 1) -> Callable[[str, str], bool]:
    """True at the `number`-th PATCH of an object."""
    left = [number]

    def ends(method: str, called: str) -> bool:
        left[0] -= method == "PATCH" and called.endswith(path)
        return left[0] == 0

    return ends


def requests_go_to(state: State) -> set[str]:
    return {name.removesuffix("-transformer") for name, weight in state.weights[-1].items() if weight > 0}


def served(state: State) -> bool:
    """Whether everybody who gets requests has a pod that answers."""
    return all(name in state.running for name in requests_go_to(state))


def promotion(state: State) -> Callable[[str, str], bool]:
    """True once the first InferenceService is changed while the canary gets all requests."""
    return lambda method, path: (
        method == "PATCH"
        and path.endswith("/inferenceservices/recommender")
        and state.weights[-1] == {"recommender-canary-transformer": 100}
    )


def test_a_canary_that_alone_serves_stays_where_the_model_before_does_not_come_back(
    installed: Cluster, state: State, settings: Settings, release: Make, die: Callable[..., None]
):
    roll_out(installed, release(1), settings)
    die(release(2), promotion(state), strategy="canary")
    assert requests_go_to(state) == {"recommender-canary"}
    # The first InferenceService has no pod, and its model before cannot be loaded any more.
    state.running.pop("recommender", None)
    original = state._control

    def control(path: str) -> None:
        original(path)
        if address(state) == MODEL.format(1):
            state.running.pop("recommender", None)
            state.objects[path].get("status", {}).pop("conditions", None)

    state._control = control  # type: ignore[method-assign]
    seen = []
    apply = state.apply

    def watch(path: str, *arguments: Any) -> Any:
        result = apply(path, *arguments)
        seen.append(requests_go_to(state) if not served(state) else set())
        return result

    state.apply = watch  # type: ignore[method-assign]
    delete = state.delete
    deleted = []
    state.delete = lambda path: deleted.append(served(state)) or delete(path)  # type: ignore[method-assign]
    roll_out(installed, release(3), replace(settings, ready_seconds=0.3, answer_seconds=0.1))
    assert seen and not any(seen)
    assert deleted == [True]
    assert requests_go_to(state) == {"recommender"}
    assert address(state) == MODEL.format(3)


def test_a_canary_that_alone_serves_outlives_a_second_failure(
    installed: Cluster, state: State, settings: Settings, release: Make, die: Callable[..., None]
):
    roll_out(installed, release(1), settings)
    die(release(2), promotion(state), strategy="canary")
    state.pod_refusal = "violates PodSecurity"
    state.running.pop("recommender", None)
    quick = replace(settings, ready_seconds=0.3, answer_seconds=0.1)
    for version in (3, 4, 5):
        with pytest.raises(RolloutError):
            roll_out(installed, release(version), quick)
        assert requests_go_to(state) == {"recommender-canary"}
        assert served(state)
    state.pod_refusal = ""
    roll_out(installed, release(6), settings)
    assert requests_go_to(state) == {"recommender"}
    assert not any("canary" in path for path in state.objects)


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


def test_one_failed_request_does_not_make_a_canary_a_change_in_place(
    installed: Cluster, state: State, settings: Settings, release: Make, die: Callable[..., None]
):
    roll_out(installed, release(1), settings)
    die(release(2), patches("/httproutes/recommender"), strategy="canary")
    answer = state.answer

    def fail_once(name: str, body: Any) -> Any:
        state.answer = answer  # type: ignore[method-assign]
        return 503, {"error": "overloaded"}

    state.answer = fail_once  # type: ignore[method-assign]
    assert roll_out(installed, release(3), replace(settings, strategy="canary")).action == "promoted"


def test_an_unchanged_model_ends_a_shadow_too(installed: Cluster, state: State, settings: Settings, release: Make):
    roll_out(installed, release(1), settings)
    roll_out(installed, release(2), replace(settings, strategy="shadow"))
    roll_out(installed, release(1), settings)
    assert not any("shadow" in path for path in state.objects)
    assert state.weights[-1] == {"recommender-transformer": 100}


def test_a_rollback_without_an_api_server_keeps_the_canary(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    calls = []
    original = installed._answer

    def unreachable(method: str, path: str, what: str, **options: Any) -> Any:
        promoting = state.weights and requests_go_to(state) == {"recommender-canary"} and len(calls) < 2
        if promoting and method == "GET" and "/leases" not in path and address(state) == MODEL.format(2):
            calls.append(path)
            raise RolloutError("the API server does not respond")
        return original(method, path, what, **options)

    installed._answer = unreachable  # type: ignore[method-assign]
    with pytest.raises(RolloutError):
        roll_out(installed, release(2), replace(settings, strategy="canary"))
    assert len(calls) == 2
    assert requests_go_to(state) == {"recommender-canary"}
    assert live(state, "recommender-canary")


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
