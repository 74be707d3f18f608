"""Every overlay and every component with the base on an API server: applied twice, and with pods that are ready."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.manifests.render import overlay_names
from serving.rollout.errors import RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from tests.cluster import storage
from tests.cluster.api import Object, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.data_plane import is_ready
from tests.cluster.overlays import (
    MANIFESTS,
    apply,
    available,
    check_no_difference,
    combined,
    namespace_of,
    overlay,
    secrets,
)
from tests.cluster.references import missing
from tests.cluster.rollouts import CLAIM, S3, Live, deployer, quick_settings

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("restricted")]

OVERLAYS = overlay_names(MANIFESTS / "overlays")
# What a component needs to be applied: it patches what the other one adds, or raises a minimum above the base's
# maximum.
NEEDS = {"tensorrt": ["gpu"], "replicated": ["hpa"]}
# Applied to the cluster by itself; `restricted` does that.
OF_THE_CLUSTER = {storage.COMPONENT.name}
COMPONENTS = sorted(path.parent.name for path in MANIFESTS.glob("components/*/kustomization.yaml"))
MODE = "serving.kserve.io/deploymentMode"
Make = Callable[..., RolloutRelease]


def generations(plane: ControlPlane, found: list[Object], namespace: str) -> dict[str, Any]:
    """How often the specs of objects have changed."""
    return {
        f"{one['kind']}/{one['metadata']['name']}": live["metadata"].get("generation")
        for one in found
        if (live := plane.api.get(one["apiVersion"], one["kind"], one["metadata"]["name"], namespace)) is not None
    }


def check_applied_twice(plane: ControlPlane, found: list[Object], namespace: str) -> None:
    """Apply documents twice. The second time changes nothing, and there is no difference."""
    apply(plane, found)
    first = generations(plane, found, namespace)
    assert len(first) == len(found)
    apply(plane, found)
    assert generations(plane, found, namespace) == first
    check_no_difference(plane, found)


def check_every_pod_is_ready(plane: ControlPlane, namespace: str, parts: list[str]) -> None:
    """All pods that the Deployments of a namespace want are scheduled and ready."""

    def unready() -> list[str]:
        deployments = {one["metadata"]["name"]: one for one in plane.api.items("apps/v1", "Deployment", namespace)}
        missing = [f"no Deployment recommender-{part}" for part in parts if f"recommender-{part}" not in deployments]
        for name, one in deployments.items():
            status = one.get("status") or {}
            current = status.get("observedGeneration") == one["metadata"]["generation"]
            counts = (status.get("updatedReplicas"), status.get("readyReplicas"), status.get("replicas"))
            if not current or counts != (one["spec"]["replicas"],) * 3:
                missing.append(f"{name}: {status.get('conditions')}")
        return missing

    wait_for(lambda: f"every pod is ready: {unready()}", lambda: not unready(), 90)
    found = plane.api.items("v1", "Pod", namespace)
    assert found and all(one["spec"].get("nodeName") and is_ready(one) for one in found)
    assert [line for one in found for line in missing(plane.api, one)] == []


def check_serves(plane: ControlPlane, found: list[Object], namespace: str, url: str, release: RolloutRelease) -> None:
    """Roll a model out; then all pods are ready, and what was applied before still makes no difference."""
    secrets(plane, found, namespace)
    cluster = deployer(plane, namespace)
    try:
        assert roll_out(cluster, release, quick_settings(url)).action == "deployed"
    finally:
        cluster.close()
    live = Live(plane, namespace)
    before = live.spec()
    parts = [part for part in ("predictor", "transformer", "explainer") if part in before]
    check_every_pod_is_ready(plane, namespace, parts)
    assert all(live.pods(part) for part in parts)
    apply(plane, found)
    check_no_difference(plane, found)
    assert live.spec() == before


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_applied_twice_and_serves(
    name: str, plane: ControlPlane, clean: Callable[[str], str], address: str, release: Make
):
    found = available(overlay(name))
    namespace = clean(namespace_of(found))
    check_applied_twice(plane, found, namespace)
    check_serves(plane, found, namespace, address, release(1, CLAIM if name == "local" else S3))


@pytest.mark.parametrize("name", sorted(set(COMPONENTS) - OF_THE_CLUSTER))
def test_a_component_is_applied_twice_with_the_base_and_serves(
    name: str, plane: ControlPlane, clean: Callable[[str], str], address: str, release: Make, tmp_path: Path
):
    namespace = clean(f"component-{name}")
    found = available(combined(tmp_path, [*NEEDS.get(name, []), name], namespace))
    check_applied_twice(plane, found, namespace)
    live = Live(plane, namespace).service()
    assert live is not None
    annotations = live["metadata"].get("annotations") or {}
    if annotations.get(MODE) != "Knative":  # whose objects are not made here
        check_serves(plane, found, namespace, address, release(1))


def test_pods_are_refused_with_kserves_default_storage_container_and_admitted_with_ours(
    plane: ControlPlane, clean: Callable[[str], str], address: str, release: Make, tmp_path: Path
):
    storage.restore(plane)
    namespace = clean("default-storage")
    apply(plane, combined(tmp_path, ["cpu"], namespace))
    cluster = deployer(plane, namespace)
    with pytest.raises(RolloutError, match="model 1 was not brought into service"):
        roll_out(cluster, release(1), quick_settings(address, ready_timeout=20.0, response_timeout=5.0))
    message = Live(plane, namespace).message
    wait_for(
        message, lambda: re.search(r'violates PodSecurity "restricted:latest": .*"storage-initializer"', message())
    )
    # Those of before the model, which needed no initializer, may be there still.
    pods = Live(plane, namespace).pods("transformer")
    assert not [pod for pod in pods if "polytask.dev/model-version" in pod["metadata"]["annotations"]]
    storage.restrict(plane)
    assert roll_out(cluster, release(2), quick_settings(address)).action == "deployed"
    cluster.close()
    check_every_pod_is_ready(plane, namespace, ["predictor", "transformer"])
    assert (
        Live(plane, namespace).pods("predictor")[0]["spec"]["initContainers"][0]["securityContext"] == storage.SECURITY
    )
