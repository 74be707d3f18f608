"""What a rollout finds of the canary or the shadow of one that died."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from serving.kubernetes.client import Cluster
from serving.rollout.errors import RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.settings import Settings
from tests.serving.rollout.conftest import State, address, live
from tests.serving.rollout.dying import MODEL, patches, promotion, requests_go_to, served

Make = Callable[..., RolloutRelease]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, lease_seconds=0.5)


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
    roll_out(installed, release(3), replace(settings, ready_timeout=0.3, response_timeout=0.1))
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
    quick = replace(settings, ready_timeout=0.3, response_timeout=0.1)
    for version in (3, 4, 5):
        with pytest.raises(RolloutError):
            roll_out(installed, release(version), quick)
        assert requests_go_to(state) == {"recommender-canary"}
        assert served(state)
    state.pod_refusal = ""
    roll_out(installed, release(6), settings)
    assert requests_go_to(state) == {"recommender"}
    assert not any("canary" in path for path in state.objects)


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
