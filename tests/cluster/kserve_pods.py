"""The changes of KServe's webhook to the pods of an InferenceService: the storage initializer or the agent."""

import json
import re
from copy import deepcopy
from typing import Any

from tests.cluster.api import Object

INTERNAL = "internal.serving.kserve.io/"
MODELS = "/mnt/models"
CONTAINER = "kserve-container"
AGENT_PORT = 9081
# `storageInitializer` of the ConfigMap `inferenceservice-config`: it knows no security context.
UNRESTRICTED: Object = {
    "image": "kserve/storage-initializer:latest",
    "env": [
        {"name": "HF_HUB_ENABLE_HF_TRANSFER", "value": "1"},
        {"name": "HF_XET_HIGH_PERFORMANCE", "value": "1"},
        {"name": "HF_XET_NUM_CONCURRENT_RANGE_GETS", "value": "8"},
    ],
    "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
}


def admitted(pod: Object, containers: list[Object]) -> Object:
    """The pod as the webhook returns it. `containers` are the ClusterStorageContainers."""
    pod = deepcopy(pod)
    annotations = pod["metadata"].setdefault("annotations", {})
    spec = pod["spec"]
    (serving,) = [one for one in spec["containers"] if one["name"] == CONTAINER]
    address = annotations.get(f"{INTERNAL}storage-initializer-sourceuri")
    if address is not None:
        _bring_model(spec, serving, address, containers)
    if annotations.get(f"{INTERNAL}agent") == "true":
        _add_agent(spec, serving, annotations)
    annotations["serving.kserve.io/enable-metric-aggregation"] = "false"
    annotations["serving.kserve.io/enable-prometheus-scraping"] = "false"
    return pod


def initializer(storage: Object | None, arguments: list[str]) -> Object:
    """The init container that copies models.

    It is made of a ClusterStorageContainer's spec, or of KServe's ConfigMap where no ClusterStorageContainer fits.
    """
    return {
        **deepcopy(UNRESTRICTED if storage is None else storage["container"]),
        "name": "storage-initializer",
        "args": arguments,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def storage_container(address: str, containers: list[Object]) -> Object | None:
    """The spec of the ClusterStorageContainer for an address."""
    for one in sorted(containers, key=lambda one: one["metadata"]["name"]):
        if not one.get("disabled") and any(_fits(address, form) for form in one["spec"]["supportedUriFormats"]):
            spec: Object = one["spec"]
            return spec
    return None


def _fits(address: str, form: dict[str, str]) -> bool:
    if form.get("prefix"):
        return address.startswith(form["prefix"])
    return re.search(form["regex"], address) is not None


def _bring_model(spec: Object, serving: Object, address: str, containers: list[Object]) -> None:
    if address.startswith("pvc://"):
        claim, _, inside = address.removeprefix("pvc://").partition("/")
        volume = {"name": "kserve-pvc-source", "persistentVolumeClaim": {"claimName": claim}}
        mount = {"name": "kserve-pvc-source", "mountPath": MODELS, "readOnly": True}
        mount |= {"subPath": inside} if inside else {}
    else:
        volume = {"name": "kserve-provision-location", "emptyDir": {}}
        mount = {"name": "kserve-provision-location", "mountPath": MODELS, "readOnly": True}
        storage = storage_container(address, containers)
        if storage is None:
            raise LookupError(f"no ClusterStorageContainer takes {address}")
        writing = [{"name": "kserve-provision-location", "mountPath": MODELS}]
        fetching = {**initializer(storage, [address, MODELS]), "volumeMounts": writing}
        spec.setdefault("initContainers", []).append(fetching)
    spec.setdefault("volumes", []).append(volume)
    serving.setdefault("volumeMounts", []).append(mount)


def _add_agent(spec: Object, serving: Object, annotations: dict[str, str]) -> None:
    """The container that fetches the models of a server of many."""
    configs, models = annotations[f"{INTERNAL}configMountPath"], annotations[f"{INTERNAL}modelDir"]
    directory, config = {"name": "model-dir", "mountPath": models}, {"name": "model-config", "mountPath": configs}
    port = str(serving["ports"][0]["containerPort"])
    agent: Object = {
        "name": "agent",
        "image": "kserve/agent:latest",
        "args": ["--enable-puller", "--config-dir", configs, "--model-dir", models, "--component-port", port],
        "ports": [{"name": "agent-port", "containerPort": AGENT_PORT, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": deepcopy(serving.get("securityContext") or {}),
        "volumeMounts": [directory, config],
    }
    probe = serving.get("readinessProbe")
    if probe is not None:
        agent["env"] = [{"name": "SERVING_READINESS_PROBE", "value": _probe_as_json(probe)}]
        requested = {
            "httpHeaders": [{"name": "K-Network-Probe", "value": "queue"}],
            "path": probe["httpGet"]["path"],
            "port": AGENT_PORT,
        }
        agent["readinessProbe"] = {"httpGet": requested}
    serving.setdefault("volumeMounts", []).append(directory)
    spec["containers"].append(agent)
    name = annotations[f"{INTERNAL}configVolumeName"]
    spec.setdefault("volumes", []).extend(
        [{"name": "model-dir", "emptyDir": {}}, {"name": "model-config", "configMap": {"name": name}}]
    )


def _probe_as_json(probe: dict[str, Any]) -> str:
    """As Go writes it: fields in the order of the type, without spaces."""
    requested = {key: probe["httpGet"][key] for key in ("path", "port", "scheme") if key in probe["httpGet"]}
    order = ("timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
    return json.dumps(
        {"httpGet": requested, **{key: probe[key] for key in order if key in probe}}, separators=(",", ":")
    )
