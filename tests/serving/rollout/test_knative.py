"""Rollouts in Knative mode: no request may meet a transformer and a Triton of different models, at any moment."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from serving.rollout.cluster import INFERENCE_SERVICE, KUBECTL, Cluster
from serving.rollout.errors import RolloutError
from serving.rollout.judges import Candidate
from serving.rollout.release import Release
from serving.rollout.roll_out import roll_out
from serving.rollout.settings import Settings
from tests.serving.rollout.conftest import SERVICE, State, address, live

Make = Callable[..., Release]
ANNOTATIONS = {"serving.kserve.io/deploymentMode": "Knative", "serving.kserve.io/enable-tag-routing": "true"}


def install(cluster: Cluster, annotations: dict[str, str]) -> Cluster:
    document = {**SERVICE, "metadata": {**SERVICE["metadata"], "annotations": annotations}}
    cluster.apply(INFERENCE_SERVICE, document, manager=KUBECTL)
    return cluster


@pytest.fixture
def knative(cluster: Cluster) -> Cluster:
    return install(cluster, ANNOTATIONS)


@pytest.fixture
def canary(settings: Settings) -> Settings:
    return replace(settings, strategy="canary")


def host(state: State) -> str:
    return str(live(state)["spec"]["transformer"]["annotations"]["polytask.dev/predictor"])


def reasons(state: State) -> list[str]:
    return [event["reason"] for event in state.events]


def test_it_replaces_its_own_way_and_mirrors_nothing(knative: Cluster, state: State, settings: Settings, release: Make):
    roll_out(knative, release(1), settings)
    assert "deploymentStrategy" not in live(state)["spec"]["predictor"]
    assert host(state) == "recommender-predictor.test"
    assert roll_out(knative, release(1), settings).action == "unchanged"
    with pytest.raises(RolloutError, match="strategy shadow in Knative mode"):
        roll_out(knative, release(2), replace(settings, strategy="shadow"))


def test_a_canary_gets_more_and_more_and_is_promoted(knative: Cluster, state: State, canary: Settings, release: Make):
    asked: list[tuple[str, str, str]] = []

    class Looking:
        def objections(self, candidate: Candidate) -> list[str]:
            asked.append((candidate.stable, candidate.canary, candidate.canary_endpoint.url.rpartition("/")[2]))
            return []

    roll_out(knative, release(1), canary)
    assert roll_out(knative, release(2), replace(canary, judges=(*canary.judges, Looking()))).action == "promoted"
    assert state.shares == [(None, None), (0, 0), (0, 10), (0, 50), (0, 100), (None, 100), (None, None)]
    assert state.mismatches == []
    assert (address(state), host(state)) == ("s3://models/small/2/repository", "recommender-predictor.test")
    assert reasons(state) == ["ModelDeployed", "CanaryStep", "CanaryStep", "CanaryPromoted"]
    assert set(asked) == {("old-1", "new-2", "latest-recommender")}
    assert {"prev-recommender", "latest-recommender", "recommender"} <= set(state.asked)
    writes = list(state.writes)
    assert roll_out(knative, release(2), canary).action == "unchanged"
    assert state.writes == writes


class Objecting:
    """Speaks against a canary once it has half of the requests."""

    def __init__(self, state: State) -> None:
        self.state = state

    def objections(self, candidate: Candidate) -> list[str]:
        return ["task item: errors: 0.5, at most 0.01"] if self.state.shares[-1] == (0, 50) else []


def test_a_canary_that_a_judge_objects_to_is_stopped(knative: Cluster, state: State, canary: Settings, release: Make):
    roll_out(knative, release(1), canary)
    with pytest.raises(RolloutError, match=r"model 2 was stopped: task item: errors: .*all requests go to the model"):
        roll_out(knative, release(2), replace(canary, judges=(Objecting(state),)))
    assert state.shares[-3:] == [(0, 50), (0, 0), (None, None)]
    assert state.mismatches == []
    assert (address(state), host(state)) == ("s3://models/small/1/repository", "recommender-predictor.test")
    assert reasons(state)[-1] == "CanaryAborted"
    assert roll_out(knative, release(1), canary).action == "unchanged"


@pytest.mark.parametrize("fault", ["broken", "mute"])
def test_a_canary_that_does_not_answer_gets_no_request(
    fault: str, knative: Cluster, state: State, canary: Settings, release: Make
):
    roll_out(knative, release(1), canary)
    with pytest.raises(RolloutError, match=r"canary of model 2 was stopped: .*; all requests go to the model before"):
        roll_out(knative, release(2, storage=f"s3://models/{fault}"), canary)
    assert state.shares == [(None, None), (0, 0), (None, None)]
    assert (state.mismatches, address(state)) == ([], "s3://models/small/1/repository")


def test_an_interrupted_canary_leaves_all_requests_to_the_model_before(
    knative: Cluster, state: State, canary: Settings, release: Make
):
    class Interrupting:
        def objections(self, candidate: Candidate) -> list[str]:
            raise KeyboardInterrupt

    roll_out(knative, release(1), canary)
    with pytest.raises(KeyboardInterrupt):
        roll_out(knative, release(2), replace(canary, judges=(Interrupting(),)))
    assert (state.shares[-1], address(state)) == ((0, 0), "s3://models/small/1/repository")
    assert roll_out(knative, release(3), canary).action == "promoted"
    assert state.mismatches == []


def test_a_canary_that_was_killed_is_ended_by_rolling(knative: Cluster, state: State, canary: Settings, release: Make):
    class Killing:
        def objections(self, candidate: Candidate) -> list[str]:
            state.failures = [403]  # from here on the step cannot even take back
            raise KeyboardInterrupt

    roll_out(knative, release(1), canary)
    with pytest.raises(RolloutError, match="403"):
        roll_out(knative, release(2), replace(canary, judges=(Killing(),)))
    with pytest.raises(RolloutError, match="a canary of model 2 was left at 10%; end it with the strategy rolling"):
        roll_out(knative, release(3), canary)
    assert roll_out(knative, release(2), replace(canary, strategy="rolling")).action == "deployed"
    assert (state.shares[-1], host(state)) == ((None, None), "recommender-predictor.test")


@pytest.mark.parametrize(
    ("annotations", "explainer", "says"),
    [
        ({"serving.kserve.io/deploymentMode": "Knative"}, False, "enable-tag-routing is not"),
        (ANNOTATIONS, True, "takes no explainer"),
    ],
)
def test_what_a_canary_needs_is_told_before_anything_changes(
    annotations: dict[str, str],
    explainer: bool,
    says: str,
    cluster: Cluster,
    state: State,
    canary: Settings,
    release: Make,
):
    install(cluster, annotations)
    roll_out(cluster, release(1), canary)
    if explainer:
        found: dict[str, Any] = live(state)
        found["spec"]["explainer"] = {"containers": []}
        found["spec"]["transformer"]["annotations"]["polytask.dev/model-version"] = "0"
    writes = list(state.writes)
    with pytest.raises(RolloutError, match=says):
        roll_out(cluster, release(2), canary)
    assert state.writes == writes
