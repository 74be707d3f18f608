"""`polytask rollout` with the deployer's own token: every strategy, bad models, and what is left in the cluster."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from polytask.contract.contract import load_contract
from serving.kubernetes.client import Cluster
from serving.rollout.errors import RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.settings import Settings
from tests.cluster.api import wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.data_plane import DataPlane
from tests.cluster.overlays import apply, check_no_difference, combined
from tests.cluster.rollouts import CLAIM, DEPLOYER, Live, deployer, quick_settings
from tests.serving.rollout.object_store import ObjectStore, storing

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("restricted")]
Make = Callable[..., RolloutRelease]
NUMBERS = itertools.count()


@pytest.fixture
def live(plane: ControlPlane, clean: Callable[[str], str]) -> Live:
    """A separate namespace for each test."""
    return Live(plane, clean(f"rollout-{next(NUMBERS)}"))


@pytest.fixture
def applied(live: Live, tmp_path: Path) -> list[Any]:
    """An overlay with routes and claims in the namespace."""
    found = combined(tmp_path, ["cpu", "canary", "claims"], live.namespace)
    apply(live.plane, found)
    return found


@pytest.fixture
def cluster(live: Live, applied: list[Any]) -> Iterator[Cluster]:
    cluster = deployer(live.plane, live.namespace)
    yield cluster
    cluster.close()


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """Object storage, and the variables that lead to it."""
    with storing(monkeypatch) as store:
        yield store


@pytest.fixture
def settings(address: str) -> Settings:
    return quick_settings(address)


@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
def test_a_model_replaces_another_in_place(
    strategy: Any, live: Live, cluster: Cluster, settings: Settings, release: Make, data_plane: DataPlane
):
    settings = replace(settings, strategy=strategy)
    assert roll_out(cluster, release(1), settings).action == "deployed"
    assert roll_out(cluster, release(2), settings).action == "deployed"
    live.check_serves_alone("2")
    assert data_plane.versions[-1] == ("recommender", "2")
    assert live.reasons() == ["ModelDeployed", "ModelDeployed"]
    deployment = live.plane.api.get("apps/v1", "Deployment", "recommender-predictor", live.namespace)
    assert deployment is not None
    assert deployment["spec"]["strategy"]["type"] == {"rolling": "RollingUpdate", "recreate": "Recreate"}[strategy]


@pytest.mark.parametrize("strategy", ["rolling", "recreate", "canary"])
def test_the_same_model_changes_nothing(strategy: Any, live: Live, cluster: Cluster, settings: Settings, release: Make):
    settings = replace(settings, strategy=strategy)
    roll_out(cluster, release(1), settings)
    before, events = live.service(), live.reasons()
    assert roll_out(cluster, release(1), settings).action == "unchanged"
    after = live.service()
    assert before is not None and after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert live.reasons() == events


def test_a_canary_is_promoted_and_nothing_of_it_is_left(
    live: Live, cluster: Cluster, settings: Settings, release: Make, data_plane: DataPlane
):
    roll_out(cluster, release(1), settings)
    assert roll_out(cluster, release(2), replace(settings, strategy="canary")).action == "promoted"
    live.check_serves_alone("2")
    assert ("recommender-canary", "2") in data_plane.versions
    assert [live.weights(kind) for kind in ("HTTPRoute", "GRPCRoute")] == [{"recommender-transformer": 100}] * 2
    wait_for(
        "the canary's pods are deleted",
        lambda: not [pod for part in ("predictor", "transformer") for pod in live.pods(part, "recommender-canary")],
    )
    assert live.reasons()[1:] == [*["CanaryStep"] * 2, "ModelDeployed", "CanaryPromoted"]


def test_a_canary_that_cannot_load_its_model_ends_and_the_other_serves_on(
    live: Live, cluster: Cluster, settings: Settings, release: Make
):
    roll_out(cluster, release(1), settings)
    with pytest.raises(
        RolloutError, match=r"BlockedByFailedLoad: ModelLoadFailed .*all requests go to the model before"
    ):
        roll_out(cluster, release(2, "s3://models/broken"), replace(settings, strategy="canary"))
    live.check_serves_alone("1")
    live.check_gone("recommender-canary")
    assert live.weights() == {"recommender-transformer": 100}


def test_a_shadow_gets_copies_until_another_model_is_deployed(
    live: Live, cluster: Cluster, settings: Settings, release: Make
):
    roll_out(cluster, release(1), settings)
    assert roll_out(cluster, release(2), replace(settings, strategy="shadow")).action == "shadowing"
    assert live.versions("transformer", "recommender-shadow") == {"2"}
    (mirror,) = live.rule()["filters"]
    assert mirror["requestMirror"]["backendRef"]["name"] == "recommender-shadow-transformer"
    assert roll_out(cluster, release(3), settings).action == "deployed"
    live.check_serves_alone("3")
    live.check_gone("recommender-shadow")


def test_a_model_that_does_not_load_is_rolled_back_after_its_pods_ended(
    live: Live, cluster: Cluster, settings: Settings, release: Make
):
    """Reported by the status, or by the responses where the status was still that of the old pods."""
    settings = replace(settings, strategy="recreate", response_timeout=5.0)
    roll_out(cluster, release(1), settings)
    with pytest.raises(RolloutError, match=r"(no such tensor|503: no pod .*); serves model 1 from .* again"):
        roll_out(cluster, release(2, "s3://models/broken"), settings)
    live.check_serves_alone("1")
    assert live.reasons() == ["ModelDeployed", "RolledBack"]


def test_a_rolling_model_that_does_not_load_is_rolled_back_by_the_answers(
    live: Live, cluster: Cluster, settings: Settings, release: Make
):
    """The old pods stay available, so the status stays ready: only the responses show the fault."""
    roll_out(cluster, release(1), settings)
    with pytest.raises(RolloutError, match=r"serves model 1 from .* again"):
        roll_out(cluster, release(2, "s3://models/broken"), replace(settings, response_timeout=5.0))
    live.check_serves_alone("1")


def test_a_model_that_answers_nothing_is_rolled_back(live: Live, cluster: Cluster, settings: Settings, release: Make):
    roll_out(cluster, release(1), settings)
    with pytest.raises(RolloutError, match=r"_scores is empty; serves model 1 from .* again"):
        roll_out(cluster, release(2, "s3://models/mute"), replace(settings, response_timeout=3.0))
    live.check_serves_alone("1")


def test_a_model_on_a_claim_is_served(live: Live, cluster: Cluster, settings: Settings, release: Make):
    assert roll_out(cluster, release(5, CLAIM), settings).action == "deployed"
    (pod,) = live.pods("predictor")
    mounts = {one["name"]: one for one in pod["spec"]["containers"][0]["volumeMounts"]}
    assert mounts["kserve-pvc-source"]["subPath"] == "5/repository"
    (pod,) = live.pods("transformer")
    assert pod["metadata"]["annotations"]["polytask.dev/bundle"] == "/mnt/claims/models/5"
    assert "initContainers" not in pod["spec"]


def test_a_service_that_is_missing_is_created_from_a_manifest(
    plane: ControlPlane, clean: Callable[[str], str], settings: Settings, release: Make, tmp_path: Path
):
    live = Live(plane, clean(f"rollout-{next(NUMBERS)}"))
    found = combined(tmp_path, ["cpu"], live.namespace)
    apply(plane, [one for one in found if one["kind"] != "InferenceService"])
    manifest = tmp_path / "overlay.yaml"
    manifest.write_text(yaml.safe_dump_all(found), encoding="utf-8")
    cluster = deployer(plane, live.namespace)
    assert roll_out(cluster, release(1), replace(settings, manifest=manifest)).action == "deployed"
    cluster.close()
    live.check_serves_alone("1")
    apply(plane, found)
    check_no_difference(plane, found)


def test_kubectl_takes_nothing_from_the_deploy_step(
    live: Live, applied: list[Any], cluster: Cluster, settings: Settings, release: Make
):
    roll_out(cluster, release(1), settings)
    roll_out(cluster, release(2), replace(settings, strategy="canary"))
    before = live.spec()
    apply(live.plane, applied)
    assert live.spec() == before
    check_no_difference(live.plane, applied)


def test_the_command_uploads_a_bundle_and_rolls_it_out_by_a_kubeconfig(
    live: Live,
    cluster: Cluster,
    address: str,
    ruled_bundle: Path,
    object_store: ObjectStore,
    tmp_path: Path,
):
    token = live.plane.token(DEPLOYER, live.namespace)
    kubeconfig = live.plane.write_kubeconfig(tmp_path / "kubeconfig", token)
    command = [sys.executable, "-m", "polytask", "rollout", "--bundle", str(ruled_bundle)]
    command += ["--storage-uri", "s3://models/small", "--namespace", live.namespace]
    command += ["--url", f"{address}/services/{{namespace}}/{{name}}"]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    version = load_contract(ruled_bundle).model_version
    assert f"models/small/{version}/contract.json" in object_store.objects
    assert f"deployed: model {version}" in done.stdout
    live.check_serves_alone(str(version))
