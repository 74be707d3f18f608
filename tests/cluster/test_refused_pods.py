"""Pods that are not created: a refusal by PodSecurity is final and reported at once, a webhook that is down is not."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.kubernetes.client import Cluster
from serving.rollout.errors import RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.settings import Settings
from tests.cluster import storage
from tests.cluster.api import wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kserve_webhook import NEW_PODS, configuration
from tests.cluster.overlays import apply, combined
from tests.cluster.processes import free_ports
from tests.cluster.rollouts import Live, deployer, quick_settings

pytestmark = pytest.mark.cluster
Make = Callable[..., RolloutRelease]
NUMBERS = itertools.count()
REFUSED = r'violates PodSecurity "restricted:latest": .*"storage-initializer"'


@pytest.fixture
def live(plane: ControlPlane, clean: Callable[[str], str]) -> Live:
    return Live(plane, clean(f"refused-{next(NUMBERS)}"))


@pytest.fixture
def manifest(live: Live, tmp_path: Path) -> Path:
    """An overlay of which all but the InferenceService is applied: the first rollout creates that one."""
    found = combined(tmp_path, ["cpu"], live.namespace)
    apply(live.plane, [one for one in found if one["kind"] != "InferenceService"])
    path = tmp_path / "overlay.yaml"
    path.write_text(yaml.safe_dump_all(found), encoding="utf-8")
    return path


@pytest.fixture
def cluster(live: Live, manifest: Path) -> Iterator[Cluster]:
    cluster = deployer(live.plane, live.namespace)
    yield cluster
    cluster.close()


@pytest.fixture
def settings(address: str, manifest: Path) -> Settings:
    return quick_settings(address, ready_timeout=120.0, manifest=manifest)


def unanswered(namespace: str) -> dict[str, Any]:
    """A webhook for the pods of a namespace at an address without a listener."""
    (port,) = free_ports(1)
    return configuration(
        "Mutating",
        namespace,
        "unanswered.tests.polytask.dev",
        clientConfig={"url": f"https://127.0.0.1:{port}/"},
        rules=[NEW_PODS],
        namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": namespace}},
    )


def test_a_pod_that_podsecurity_refuses_is_reported_within_seconds(
    plane: ControlPlane, live: Live, cluster: Cluster, settings: Settings, release: Make
):
    storage.restore(plane)
    started = time.monotonic()
    with pytest.raises(RolloutError, match=REFUSED):
        roll_out(cluster, release(1), settings)
    assert time.monotonic() - started < 30


def test_refused_pods_leave_the_old_ones_serving(
    plane: ControlPlane, live: Live, cluster: Cluster, settings: Settings, release: Make
):
    """Detected by the status, or by the responses if the status was still that of the old pods.

    KServe gives the transformer the storage container of the moment, so new pods of the old model are refused as well,
    and the rollout may report that too.
    """
    settings = replace(settings, response_timeout=10.0)
    storage.restrict(plane)
    roll_out(cluster, release(1), settings)
    storage.restore(plane)
    started = time.monotonic()
    with pytest.raises(RolloutError, match="model 2 was not brought into service"):
        roll_out(cluster, release(2), settings)
    assert time.monotonic() - started < 60
    assert live.spec()["predictor"]["model"]["storageUri"] == "s3://models/small/1/repository"
    assert [live.versions(part) for part in ("predictor", "transformer")] == [{"1"}, {"1"}]
    storage.restrict(plane)


def test_a_webhook_that_does_not_respond_is_waited_for(
    plane: ControlPlane, live: Live, cluster: Cluster, settings: Settings, release: Make
):
    storage.restrict(plane)
    webhook = unanswered(live.namespace)
    plane.api.apply(webhook, "tests")
    time.sleep(1.0)  # the API server takes a moment to know it

    def end() -> None:
        wait_for(live.message, lambda: "failed calling webhook" in live.message())
        time.sleep(2 * settings.failing_seconds)
        plane.api.delete(webhook)

    ending = threading.Thread(target=end)
    ending.start()
    try:
        assert roll_out(cluster, release(1), settings).action == "deployed"
    finally:
        ending.join(60)
        plane.api.delete(webhook)
    live.check_serves_alone("1")
