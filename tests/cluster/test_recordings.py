"""The stand-in in a cluster makes what KServe's real manager made there: objects, pods and status, field by field."""

import contextlib
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.cluster.api import Api, Object, wait_for
from tests.cluster.data_plane import is_ready
from tests.cluster.documents import documents
from tests.cluster.kserve_rules import parts_of
from tests.cluster.test_kserve_rules import NO_RECORDINGS, RECORDED, RECORDINGS, before_the_rollout

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("restricted")]
# Names, uids and times are the cluster's own.
OF_THE_CLUSTER = {
    *("creationTimestamp", "generation", "lastTransitionTime", "managedFields", "ownerReferences"),
    *("resourceVersion", "uid", "topology.kubernetes.io/zone"),
    *("clusterIP", "clusterIPs", "nodeName", "preemptionPolicy", "priority", "enableServiceLinks"),
    *("generateName", "pod-template-hash", "deployment.kubernetes.io/revision"),
}
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}


def without_the_clusters(value: Any) -> Any:
    """The same without what differs between clusters; the names of ReplicaSets without their hash."""
    if isinstance(value, dict):
        return {key: without_the_clusters(entry) for key, entry in value.items() if key not in OF_THE_CLUSTER}
    if isinstance(value, list):
        return [without_the_clusters(entry) for entry in value]
    return re.sub(r'ReplicaSet "([a-z-]+)-[0-9a-z]+"', r'ReplicaSet "\1"', value) if isinstance(value, str) else value


def as_recorded(one: Object) -> Object:
    """A live object as the recordings have it."""
    one = without_the_clusters({key: value for key, value in one.items() if key != "status"})
    if one["kind"] == "Pod":
        one["metadata"].pop("name", None)  # the recordings have none
        for field in ("dnsPolicy", "restartPolicy", "schedulerName", "serviceAccount", "tolerations"):
            one["spec"].pop(field, None)
    return one


def status_as_recorded(service: Object) -> Object:
    """Without how often it changed."""
    status: Object = without_the_clusters(service.get("status") or {})
    status.pop("observedGeneration", None)
    return status


def prepare(api: Api, namespace: str) -> None:
    """A restricted namespace with what the pods of the recordings refer to."""
    metadata = {"name": namespace, "labels": RESTRICTED}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, "tests")
    inside = {"namespace": namespace}
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "recommender", **inside}}, "tests")
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    for claim in ("models", "feature-store"):
        metadata = {"name": claim, **inside}
        api.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}, "tests")


def repeat(api: Api, service: Object, recorded: list[Object]) -> None:
    """Apply an InferenceService as it was: without a model, then with it; scale as an autoscaler did."""
    namespace = service["metadata"]["namespace"]
    wanted = {key: value for key, value in service.items() if key != "status"}
    wanted["metadata"] = {key: value for key, value in service["metadata"].items() if key != "finalizers"}
    earlier = before_the_rollout(wanted)
    api.apply(earlier, "tests")
    for part in parts_of(service):
        found = partial(api.get, "v1", "Service", f"recommender-{part}", namespace)
        wait_for(f"Service recommender-{part}", found)
    if wanted != earlier:
        api.apply(wanted, "tests")
    for one in recorded:
        if one["kind"] == "Deployment" and one["spec"]["replicas"] > 1:
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{one['metadata']['name']}/scale"
            api.call("PATCH", path, {"spec": {"replicas": one["spec"]["replicas"]}})


@pytest.mark.parametrize("name", RECORDED or [NO_RECORDINGS])
def test_the_cluster_holds_what_was_recorded(name: str, api: Api, clean: Callable[[str], str]):
    service, *recorded = documents(RECORDINGS / f"{name}.yaml")
    namespace = clean(service["metadata"]["namespace"])
    prepare(api, namespace)
    repeat(api, service, recorded)
    versions = {one["kind"]: one["apiVersion"] for one in recorded}
    expected = texts(recorded)

    def found() -> list[str]:
        live = [one for kind, version in versions.items() for one in api.items(version, kind, namespace)]
        return texts([one for one in live if one["kind"] != "Pod" or is_ready(one)])

    def status() -> Object:
        return status_as_recorded(api.get(service["apiVersion"], service["kind"], "recommender", namespace) or {})

    until = partial(contextlib.suppress, AssertionError)  # pytest shows what differs better than a deadline does
    with until():
        wait_for("the same objects", lambda: found() == expected, 40)
    assert found() == expected
    with until():
        wait_for("the same status", lambda: status() == status_as_recorded(service), 20)
    assert status() == status_as_recorded(service)


def texts(found: list[Object]) -> list[str]:
    """Objects in an order of their own, so that lists can be compared."""
    return sorted(json.dumps(as_recorded(one), sort_keys=True) for one in found)
