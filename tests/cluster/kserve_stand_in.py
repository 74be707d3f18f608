"""A substitute for KServe's manager: it creates the objects of InferenceServices and reports their status.

The objects are those of `kserve_rules`, the pods pass the webhook of `kserve_webhook`, the status is that of
`kserve_status`. Knative mode is not played.
"""

import json
import logging
import threading

import httpx

from tests.cluster.api import Api, ApiError, Object, place
from tests.cluster.control_plane import ControlPlane
from tests.cluster.documents import documents
from tests.cluster.kserve_rules import AUTOSCALER, SERVICE_LABEL, is_stopped, made_of, parts_of
from tests.cluster.kserve_status import status_of
from tests.cluster.kserve_webhook import Webhook
from tests.cluster.programs import HERE

LOGGER = logging.getLogger(__name__)
V1BETA1, V1ALPHA1 = "serving.kserve.io/v1beta1", "serving.kserve.io/v1alpha1"
MODE = "serving.kserve.io/deploymentMode"
MANAGER = "kserve"
POLL_SECONDS = 0.2
KINDS = {
    "Deployment": "apps/v1",
    "Service": "v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "ScaledObject": "keda.sh/v1alpha1",
    "ConfigMap": "v1",
}
# Their annotations stay as they were when the object was made.
KEPT = ("Service", "ScaledObject")
FINALIZER = "inferenceservice.finalizers"
Key = tuple[str, str, str]


class KServeStandIn:
    """Runs from `start` to `stop`, with its own identity."""

    def __init__(self, plane: ControlPlane) -> None:
        self._api = Api(plane.url, plane.authority, certificate=plane.folder / "admin.pem")
        self._webhook = Webhook(self._api)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kserve", daemon=True)
        self._applied: dict[tuple[str, Key], str] = {}

    def start(self) -> None:
        """Install what KServe brings, then reconcile until `stop`."""
        for document in documents(HERE / "kserve_defaults.yaml"):
            self._api.apply(document, MANAGER)
        self._webhook.start()
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(30)
        self._webhook.stop()
        self._api.close()

    def _run(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            try:
                for service in self._api.items(V1BETA1, "InferenceService"):
                    if "deletionTimestamp" in service["metadata"]:
                        self._finalize(service, [])
                    else:
                        self._reconcile(service)
            except (ApiError, httpx.HTTPError) as error:  # the object changed or went away in between
                LOGGER.info("kserve: %s; trying again", error)

    def _reconcile(self, service: Object) -> None:
        metadata = service["metadata"]
        annotations = metadata.get("annotations") or {}
        if annotations.get(MODE) == "Knative":
            return
        self._finalize(service, [FINALIZER])
        labels = {SERVICE_LABEL: metadata["name"]}
        there = {
            (kind, metadata["namespace"], one["metadata"]["name"]): one
            for kind, version in KINDS.items()
            for one in self._api.items(version, kind, metadata["namespace"], labels)
            if _belongs_to(one, service)
        }
        replicas = {name: one["spec"]["replicas"] for (kind, _, name), one in there.items() if kind == "Deployment"}
        scaled = annotations.get(AUTOSCALER, "hpa") != "none"
        problem = ""
        try:
            runtime = self._runtime(service)
            containers = self._api.items(V1ALPHA1, "ClusterStorageContainer")
            wanted = made_of(service, runtime, containers, replicas if scaled else None)
            wanted += [] if is_stopped(service) else _model_config(service)
            self._write(service, wanted, there)
        except LookupError as error:
            problem = str(error)
        deployments = {
            part: self._api.get("apps/v1", "Deployment", f"{metadata['name']}-{part}", metadata["namespace"])
            for part in parts_of(service)
        }
        pods = self._api.items(
            "v1", "Pod", metadata["namespace"], {"app": f"isvc.{metadata['name']}-predictor", **labels}
        )
        self._report(service, status_of(service, deployments, pods, problem))

    def _finalize(self, service: Object, finalizers: list[str]) -> None:
        """Keep a deleted object until KServe has seen the deletion."""
        metadata = service["metadata"]
        if (metadata.get("finalizers") or []) != finalizers:
            path = place(V1BETA1, "InferenceService", metadata["namespace"], metadata["name"])
            self._api.call("PATCH", path, {"metadata": {"finalizers": finalizers}})

    def _runtime(self, service: Object) -> Object:
        name = service["spec"]["predictor"]["model"].get("runtime", "")
        runtime = self._api.get(V1ALPHA1, "ClusterServingRuntime", name) if name else None
        if runtime is None:
            raise LookupError(f"no runtime {name!r} found")
        return runtime

    def _write(self, service: Object, wanted: list[Object], there: dict[Key, Object]) -> None:
        """Create, change and delete, so that exactly the wanted objects are there."""
        uid = service["metadata"]["uid"]
        keys = set()
        for one in wanted:
            key = (one["kind"], one["metadata"]["namespace"], one["metadata"]["name"])
            keys.add(key)
            if one["kind"] in KEPT and key in there:
                one["metadata"]["annotations"] = there[key]["metadata"].get("annotations") or {}
            one["metadata"]["ownerReferences"] = [_owner(service)]
            text = json.dumps(one, sort_keys=True)
            if key not in there or self._applied.get((uid, key)) != text:
                self._api.apply(one, MANAGER)
                self._applied[(uid, key)] = text
        for key in there.keys() - keys:
            self._api.delete(there[key])

    def _report(self, service: Object, status: Object) -> None:
        if service.get("status") != status:
            metadata = service["metadata"]
            path = place(V1BETA1, "InferenceService", metadata["namespace"], metadata["name"])
            self._api.call("PUT", f"{path}/status", {**service, "status": status})


def _owner(service: Object) -> Object:
    metadata = service["metadata"]
    return {
        "apiVersion": V1BETA1,
        "kind": "InferenceService",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _belongs_to(one: Object, service: Object) -> bool:
    owners = one["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == service["metadata"]["uid"] for owner in owners)


def _model_config(service: Object) -> list[Object]:
    """The list of models of a server of many."""
    if service["spec"]["predictor"]["model"].get("storageUri"):
        return []
    metadata = service["metadata"]
    own = {
        "name": f"modelconfig-{metadata['name']}-0",
        "namespace": metadata["namespace"],
        "labels": {SERVICE_LABEL: metadata["name"]},
    }
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": own, "data": {"models.json": "[]"}}]
