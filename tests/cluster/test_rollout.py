"""`polytask rollout` with the deployer's own token: every strategy, bad models, and what is left in the cluster."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polytask.contract import load_contract
from serving.rollout.cluster import Cluster
from serving.rollout.errors import RolloutError
from serving.rollout.release import Release
from serving.rollout.roll_out import roll_out
from serving.rollout.settings import Settings
from tests.cluster.api import wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.data_plane import DataPlane
from tests.cluster.overlays import apply, combined, difference
from tests.cluster.rollouts import CLAIM, DEPLOYER, deployer, pods, quick_settings, reasons, service

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("restricted")]
Make = Callable[..., Release]
NAMESPACE = "rollout"
VERSION = "polytask.dev/model-version"


@pytest.fixture
def applied(plane: ControlPlane, clean: Callable[[str], str], tmp_path: Path) -> list[Any]:
    """An overlay with routes and claims in the namespace."""
    found = combined(tmp_path, ["cpu", "canary", "claims"], clean(NAMESPACE))
    apply(plane, found)
    return found


@pytest.fixture
def cluster(plane: ControlPlane, applied: list[Any]) -> Iterator[Cluster]:
    cluster = deployer(plane, NAMESPACE)
    yield cluster
    cluster.close()


@pytest.fixture
def settings(address: str) -> Settings:
    return quick_settings(address)


def versions(plane: ControlPlane, part: str, name: str = "recommender") -> set[str]:
    return {one["metadata"]["annotations"][VERSION] for one in pods(plane, NAMESPACE, part, name)}


def weights(plane: ControlPlane) -> dict[str, dict[str, int]]:
    """Of each route: which Service gets how much."""
    found = {}
    for kind in ("HTTPRoute", "GRPCRoute"):
        route = plane.api.get("gateway.networking.k8s.io/v1", kind, "recommender", NAMESPACE)
        assert route is not None
        (rule,) = route["spec"]["rules"]
        found[kind] = {one["name"]: one["weight"] for one in rule["backendRefs"]}
    return found


def check_serves_alone(plane: ControlPlane, version: str) -> None:
    """All pods that are left are of one model."""
    parts = ("predictor", "transformer")
    wait_for(
        lambda: f"only pods of model {version}: {[versions(plane, part) for part in parts]}",
        lambda: all(versions(plane, part) == {version} for part in parts),
    )


@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
def test_a_model_replaces_another_in_place(
    strategy: Any, plane: ControlPlane, cluster: Cluster, settings: Settings, release: Make, data_plane: DataPlane
):
    settings = replace(settings, strategy=strategy)
    assert roll_out(cluster, release(1), settings).action == "deployed"
    assert roll_out(cluster, release(2), settings).action == "deployed"
    check_serves_alone(plane, "2")
    assert data_plane.versions[-1] == ("recommender", "2")
    assert reasons(plane, NAMESPACE) == ["ModelDeployed", "ModelDeployed"]
    deployment = plane.api.get("apps/v1", "Deployment", "recommender-predictor", NAMESPACE)
    assert deployment is not None
    assert deployment["spec"]["strategy"]["type"] == {"rolling": "RollingUpdate", "recreate": "Recreate"}[strategy]


@pytest.mark.parametrize("strategy", ["rolling", "recreate", "canary"])
def test_the_same_model_changes_nothing(
    strategy: Any, plane: ControlPlane, cluster: Cluster, settings: Settings, release: Make
):
    settings = replace(settings, strategy=strategy)
    roll_out(cluster, release(1), settings)
    before, events = service(plane, NAMESPACE), reasons(plane, NAMESPACE)
    assert roll_out(cluster, release(1), settings).action == "unchanged"
    assert service(plane, NAMESPACE)["metadata"]["generation"] == before["metadata"]["generation"]
    assert reasons(plane, NAMESPACE) == events


def test_a_canary_is_promoted_and_nothing_of_it_is_left(
    plane: ControlPlane, cluster: Cluster, settings: Settings, release: Make, data_plane: DataPlane
):
    roll_out(cluster, release(1), settings)
    assert roll_out(cluster, release(2), replace(settings, strategy="canary")).action == "promoted"
    check_serves_alone(plane, "2")
    assert ("recommender-canary", "2") in data_plane.versions
    assert weights(plane) == {kind: {"recommender-transformer": 100} for kind in ("HTTPRoute", "GRPCRoute")}
    wait_for(
        "the canary's pods are gone",
        lambda: (
            not [
                pod
                for part in ("predictor", "transformer")
                for pod in pods(plane, NAMESPACE, part, "recommender-canary")
            ]
        ),
    )
    assert reasons(plane, NAMESPACE)[1:] == [*["CanaryStep"] * 2, "ModelDeployed", "CanaryPromoted"]


def test_a_canary_that_cannot_load_its_model_ends_and_the_other_serves_on(
    plane: ControlPlane, cluster: Cluster, settings: Settings, release: Make
):
    roll_out(cluster, release(1), settings)
    with pytest.raises(
        RolloutError, match=r"BlockedByFailedLoad: ModelLoadFailed .*all requests go to the model before"
    ):
        roll_out(cluster, release(2, "s3://models/broken"), replace(settings, strategy="canary"))
    check_serves_alone(plane, "1")
    assert plane.api.get("serving.kserve.io/v1beta1", "InferenceService", "recommender-canary", NAMESPACE) is None
    assert weights(plane)["HTTPRoute"] == {"recommender-transformer": 100}


def test_a_shadow_gets_copies_until_another_model_is_deployed(
    plane: ControlPlane, cluster: Cluster, settings: Settings, release: Make
):
    roll_out(cluster, release(1), settings)
    assert roll_out(cluster, release(2), replace(settings, strategy="shadow")).action == "shadowing"
    assert versions(plane, "transformer", "recommender-shadow") == {"2"}
    route = plane.api.get("gateway.networking.k8s.io/v1", "HTTPRoute", "recommender", NAMESPACE)
    assert route is not None
    (mirror,) = route["spec"]["rules"][0]["filters"]
    assert mirror["requestMirror"]["backendRef"]["name"] == "recommender-shadow-transformer"
    assert roll_out(cluster, release(3), settings).action == "deployed"
    check_serves_alone(plane, "3")
    assert plane.api.get("serving.kserve.io/v1beta1", "InferenceService", "recommender-shadow", NAMESPACE) is None


def test_a_model_that_does_not_load_is_rolled_back_by_its_status(
    plane: ControlPlane, cluster: Cluster, settings: Settings, release: Make
):
    settings = replace(settings, strategy="recreate")
    roll_out(cluster, release(1), settings)
    with pytest.raises(RolloutError, match=r"multitask: no such tensor; serves model 1 from .* again"):
        roll_out(cluster, release(2, "s3://models/broken"), settings)
    check_serves_alone(plane, "1")
    assert reasons(plane, NAMESPACE) == ["ModelDeployed", "RolledBack"]


def test_a_rolling_model_that_does_not_load_is_rolled_back_by_the_answers(
    plane: ControlPlane, cluster: Cluster, settings: Settings, release: Make
):
    """The old pods stay available, so the status stays ready: only the answers show it."""
    roll_out(cluster, release(1), settings)
    with pytest.raises(RolloutError, match=r"serves model 1 from .* again"):
        roll_out(cluster, release(2, "s3://models/broken"), replace(settings, answer_seconds=5.0))
    check_serves_alone(plane, "1")


def test_a_model_that_answers_nothing_is_rolled_back(
    plane: ControlPlane, cluster: Cluster, settings: Settings, release: Make
):
    roll_out(cluster, release(1), settings)
    with pytest.raises(RolloutError, match=r"_scores is empty; serves model 1 from .* again"):
        roll_out(cluster, release(2, "s3://models/mute"), replace(settings, answer_seconds=3.0))
    check_serves_alone(plane, "1")


def test_a_model_on_a_claim_is_served(plane: ControlPlane, cluster: Cluster, settings: Settings, release: Make):
    assert roll_out(cluster, release(5, CLAIM), settings).action == "deployed"
    (pod,) = pods(plane, NAMESPACE, "predictor")
    mounts = {one["name"]: one for one in pod["spec"]["containers"][0]["volumeMounts"]}
    assert mounts["kserve-pvc-source"]["subPath"] == "5/repository"
    (pod,) = pods(plane, NAMESPACE, "transformer")
    assert pod["metadata"]["annotations"]["polytask.dev/bundle"] == "/mnt/models/5"
    assert "initContainers" not in pod["spec"]


def test_kubectl_takes_nothing_from_the_deploy_step(
    plane: ControlPlane, applied: list[Any], cluster: Cluster, settings: Settings, release: Make
):
    roll_out(cluster, release(1), settings)
    roll_out(cluster, release(2), replace(settings, strategy="canary"))
    before = service(plane, NAMESPACE)["spec"]
    apply(plane, applied)
    assert service(plane, NAMESPACE)["spec"] == before
    assert difference(plane, applied) == ""


def test_the_command_rolls_out_a_bundle_by_a_kubeconfig(
    plane: ControlPlane, cluster: Cluster, address: str, ruled_bundle: Path, tmp_path: Path
):
    token = plane.token(DEPLOYER, NAMESPACE)
    kubeconfig = plane.write_kubeconfig(tmp_path / "kubeconfig", token=token)
    command = [
        sys.executable,
        "-m",
        "polytask",
        "rollout",
        "--bundle",
        str(ruled_bundle),
        "--storage",
        "s3://models/small",
    ]
    command += ["--namespace", NAMESPACE, "--no-upload", "--url", f"{address}/services/{{namespace}}/{{name}}"]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    version = load_contract(ruled_bundle).model_version
    assert f"deployed: model {version}" in done.stdout
    check_serves_alone(plane, str(version))
