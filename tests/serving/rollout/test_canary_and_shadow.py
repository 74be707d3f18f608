"""A second service of the new model: a canary that gets more and more requests, and a shadow."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from serving.kubernetes.client import GRPC_ROUTE, HTTP_ROUTE, INFERENCE_SERVICE, KUBECTL, Cluster
from serving.manifests.route_rules import check_routes
from serving.rollout.errors import RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.service import routes
from serving.rollout.service.revision import Revision, second_service
from serving.rollout.settings import Settings
from serving.rollout.strategies.canary_analysis import CanaryEndpoint
from tests.serving.rollout.conftest import SERVICE, State, address, live, reasons

Make = Callable[..., RolloutRelease]


class Objecting:
    """Speaks against a canary once it has half of the requests."""

    def __init__(self, state: State) -> None:
        self.state = state

    def objections(self, candidate: CanaryEndpoint) -> list[str]:
        assert (candidate.stable, candidate.canary) == ("recommender", "recommender-canary")
        return ["task item: ndcg@10: 0.01, at least 0.1"] if 50 in self.state.weights[-1].values() else []


def test_a_canary_gets_more_and_more_and_then_its_model_replaces_the_old(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    settings = replace(settings, strategy="canary")
    roll_out(installed, release(1), settings)
    assert state.weights == [{"recommender-transformer": 100}]
    assert roll_out(installed, release(2), settings).action == "promoted"
    assert state.weights[1:] == [
        {"recommender-transformer": 90, "recommender-canary-transformer": 10},
        {"recommender-transformer": 50, "recommender-canary-transformer": 50},
        {"recommender-canary-transformer": 100},
        {"recommender-transformer": 100},
    ]
    assert address(state) == "s3://models/small/2/repository"
    assert not any("canary" in path for path in state.objects)
    assert {"recommender", "recommender-canary"} <= set(state.requested)
    assert reasons(state) == ["ModelDeployed", "CanaryStep", "CanaryStep", "ModelDeployed", "CanaryPromoted"]
    ports = [entry["port"] for entry in live(state, kind=GRPC_ROUTE.plural)["spec"]["rules"][0]["backendRefs"]]
    assert ports == [8081]
    for route in (HTTP_ROUTE, GRPC_ROUTE):
        assert check_routes(live(state, kind=route.plural)) == []


def test_the_canary_is_the_service_with_another_model_and_one_pod(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    seen: list[dict[str, Any]] = []

    class Looking:
        def objections(self, candidate: CanaryEndpoint) -> list[str]:
            seen.append(live(state, "recommender-canary"))
            return []

    settings = replace(settings, strategy="canary")
    roll_out(installed, release(1), settings)
    roll_out(installed, release(2), replace(settings, judges=(Looking(),)))
    canary = seen[0]
    assert canary["metadata"]["labels"] == SERVICE["metadata"]["labels"]
    assert canary["metadata"]["annotations"] == {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "none",
    }
    for part in ("predictor", "transformer"):
        component = canary["spec"][part]
        assert (component["minReplicas"], component["maxReplicas"]) == (1, 1)
        assert "autoScaling" not in component
    assert canary["spec"]["predictor"]["model"]["storageUri"] == "s3://models/small/2/repository"
    assert canary["spec"]["predictor"]["model"]["runtime"] == "kserve-tritonserver"


def test_a_canary_that_a_judge_objects_to_is_stopped(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    settings = replace(settings, strategy="canary")
    roll_out(installed, release(1), settings)
    with pytest.raises(RolloutError, match=r"model 2 was stopped: task item: ndcg@10: 0.01, .*the model before"):
        roll_out(installed, release(2), replace(settings, judges=(Objecting(state),)))
    assert state.weights[-2:] == [
        {"recommender-transformer": 50, "recommender-canary-transformer": 50},
        {"recommender-transformer": 100},
    ]
    assert address(state) == "s3://models/small/1/repository"
    assert not any("canary" in path for path in state.objects)
    assert reasons(state)[-1] == "CanaryAborted"


def test_a_canary_that_does_not_load_gets_no_request(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    settings = replace(settings, strategy="canary")
    roll_out(installed, release(1), settings)
    with pytest.raises(RolloutError, match="BlockedByFailedLoad"):
        roll_out(installed, release(2, storage="s3://models/broken"), settings)
    assert all("recommender-canary-transformer" not in weights for weights in state.weights)
    assert not any("canary" in path for path in state.objects)


def test_an_interrupted_canary_is_ended_too(installed: Cluster, state: State, settings: Settings, release: Make):
    class Interrupting:
        def objections(self, candidate: CanaryEndpoint) -> list[str]:
            raise KeyboardInterrupt

    settings = replace(settings, strategy="canary")
    roll_out(installed, release(1), settings)
    with pytest.raises(KeyboardInterrupt):
        roll_out(installed, release(2), replace(settings, judges=(Interrupting(),)))
    assert state.weights[-1] == {"recommender-transformer": 100}
    assert not any("canary" in path for path in state.objects)


def test_routes_that_an_earlier_program_left_are_put_right_though_the_model_is_served(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    """A deploy step of before the Lease, which was killed at 10%."""
    roll_out(installed, release(1), settings)
    second = second_service(live(state), "recommender-canary", Revision.of_release(release(2), None))
    installed.apply(INFERENCE_SERVICE, second)
    routes.share(installed, "recommender", {"recommender": 90, "recommender-canary": 10})
    assert roll_out(installed, release(1), settings).action == "unchanged"
    assert state.weights[-1] == {"recommender-transformer": 100}
    assert not any("canary" in path for path in state.objects)
    assert reasons(state)[-1] == "Reconciling"
    assert "found recommender-canary, requests for recommender-canary" in state.events[-1]["message"]


def test_a_canary_needs_the_routes(cluster: Cluster, settings: Settings, release: Make):
    cluster.apply(INFERENCE_SERVICE, SERVICE, manager=KUBECTL)
    with pytest.raises(RolloutError, match="HTTPRoute recommender in test is missing; apply the component `canary`"):
        roll_out(cluster, release(1), replace(settings, strategy="canary"))


def test_a_shadow_sees_every_request_until_another_strategy_ends_it(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    shadow = replace(settings, strategy="shadow")
    assert roll_out(installed, release(2), shadow).action == "shadowing"
    assert state.weights[-1] == {"recommender-transformer": 100, "recommender-shadow-transformer": -1}
    assert (address(state), address(state, "recommender-shadow")) == (
        "s3://models/small/1/repository",
        "s3://models/small/2/repository",
    )
    writes = list(state.writes)
    assert roll_out(installed, release(2), shadow).action == "unchanged"
    assert state.writes == writes
    assert roll_out(installed, release(2), settings).action == "deployed"
    assert state.weights[-1] == {"recommender-transformer": 100}
    assert not any("shadow" in path for path in state.objects)


def test_a_rollout_that_finds_its_model_served_ends_the_shadow_too(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    roll_out(installed, release(2), replace(settings, strategy="shadow"))
    assert roll_out(installed, release(1), settings).action == "unchanged"
    assert state.weights[-1] == {"recommender-transformer": 100}
    assert not any("shadow" in path for path in state.objects)


def test_a_shadow_that_does_not_answer_is_ended(installed: Cluster, state: State, settings: Settings, release: Make):
    roll_out(installed, release(1), settings)
    with pytest.raises(RolloutError, match=r"shadow of model 2 was stopped: .*item_scores is empty"):
        roll_out(installed, release(2, storage="s3://models/mute"), replace(settings, strategy="shadow"))
    assert not any("shadow" in path for path in state.objects)
