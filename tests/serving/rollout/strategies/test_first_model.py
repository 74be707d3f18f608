"""Before the first model no pod is made, and nothing but a person stops what is served afterwards."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.kubernetes.client import INFERENCE_SERVICE, KUBECTL, MANAGER, Cluster
from serving.rollout.errors import Conflicting, RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.settings import Settings
from serving.rollout.strategies.first_model import FIRST, STOP, stopped
from tests.serving.rollout.conftest import SERVICE, State, address, live

Make = Callable[..., RolloutRelease]


@pytest.fixture
def created(cluster: Cluster, state: State) -> Cluster:
    """After the first steps: the InferenceService is stopped, and the overlay is applied."""
    cluster.apply(INFERENCE_SERVICE, stopped(SERVICE), manager=FIRST)
    cluster.apply(INFERENCE_SERVICE, SERVICE, manager=KUBECTL)
    assert annotation(state) == "true"
    return cluster


def annotation(state: State) -> str | None:
    value: str | None = live(state)["metadata"]["annotations"].get(STOP)
    return value


def by_hand(value: str) -> dict[str, Any]:
    metadata = {"name": "recommender", "annotations": {STOP: value}}
    return {"apiVersion": INFERENCE_SERVICE.api_version, "kind": INFERENCE_SERVICE.kind, "metadata": metadata}


def test_the_first_rollout_starts_it_and_the_overlay_does_not_stop_it(
    created: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(created, release(1), settings)
    assert annotation(state) == "false"
    before = live(state)
    created.apply(INFERENCE_SERVICE, SERVICE, manager=KUBECTL)
    assert live(state) == before
    roll_out(created, release(2), settings)
    assert annotation(state) == "false"


def test_it_has_its_model_before_it_starts(created: Cluster, state: State, settings: Settings, release: Make):
    seen = []
    apply = state.apply

    def watch(path: str, *arguments: Any) -> Any:
        result = apply(path, *arguments)
        seen.append((annotation(state), address(state) is not None))
        return result

    state.apply = watch  # type: ignore[method-assign]
    roll_out(created, release(1), settings)
    assert ("false", False) not in seen
    assert seen[0] == ("true", True)


def test_the_stopped_file_cannot_stop_what_is_served(created: Cluster, state: State, settings: Settings, release: Make):
    roll_out(created, release(1), settings)
    with pytest.raises(Conflicting, match=MANAGER):
        created.apply(INFERENCE_SERVICE, stopped(SERVICE), manager=FIRST)
    assert annotation(state) == "false"


def test_after_the_first_rollout_the_overlay_may_change(
    created: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(created, release(1), settings)
    other = {
        **SERVICE,
        "spec": {**SERVICE["spec"], "transformer": {**SERVICE["spec"]["transformer"], "maxReplicas": 9}},
    }
    created.apply(INFERENCE_SERVICE, other, manager=KUBECTL)
    assert live(state)["spec"]["transformer"]["maxReplicas"] == 9


def test_a_person_who_stops_it_is_respected_until_it_is_taken_over(
    created: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(created, release(1), settings)
    created.apply(INFERENCE_SERVICE, by_hand("true"), manager="kubectl-annotate", force=True)
    with pytest.raises(Conflicting, match=r"serving\.kserve\.io/stop: conflict with \"kubectl-annotate\""):
        roll_out(created, release(2), settings)
    assert address(state) == "s3://models/small/1/repository"
    roll_out(created, release(2), replace(settings, force_conflicts=True))
    assert annotation(state) == "false"


def test_a_rollout_that_creates_the_service_makes_no_pod_before_it_has_its_model(
    cluster: Cluster, state: State, settings: Settings, release: Make, manifest: Path
):
    roll_out(cluster, release(1), replace(settings, manifest=manifest))
    assert annotation(state) == "false"
    managers = [manager for manager, path in state.writes if "inferenceservices" in path]
    assert managers[0] == FIRST


def test_another_mode_is_refused(cluster: Cluster, settings: Settings, release: Make):
    metadata = {**SERVICE["metadata"], "annotations": {"serving.kserve.io/deploymentMode": "Knative"}}
    cluster.apply(INFERENCE_SERVICE, {**SERVICE, "metadata": metadata}, manager=KUBECTL)
    with pytest.raises(RolloutError, match="deploymentMode: 'Knative'; expected Standard"):
        roll_out(cluster, release(1), settings)
