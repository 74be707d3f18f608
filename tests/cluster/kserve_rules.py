"""The objects that KServe's manager creates in Standard mode: Deployments, Services and autoscalers.

Written after recordings of the real manager, with which `test_kserve_rules.py` compares it. Defaults of the API server
are left out.
"""

import re
from collections.abc import Mapping
from copy import deepcopy

from tests.cluster.api import Object
from tests.cluster.kserve_autoscalers import horizontal, scaled_object
from tests.cluster.kserve_pods import INTERNAL, MODELS
from tests.cluster.kserve_storage_uris import mount_all

PARTS = ("predictor", "transformer", "explainer")
AUTOSCALER = "serving.kserve.io/autoscalerClass"
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
STOP = "serving.kserve.io/stop"
# Fields of a part that are no fields of its pods.
EXTENSION = {
    *("annotations", "autoScaling", "batcher", "canaryTrafficPercent", "containerConcurrency", "deploymentStrategy"),
    *("labels", "logger", "maxReplicas", "minReplicas", "model", "scaleMetric", "scaleMetricType", "scaleTarget"),
    *("storageUris", "timeout", "workerSpec"),
}
# Fields of a model that are no fields of a container.
MODEL_EXTENSION = {
    "modelFormat",
    "protocolVersion",
    "runtime",
    "runtimeVersion",
    "storage",
    "storageUri",
    "storageUris",
}
NOT_HANDED_ON = {"modelFormat", "kubectl.kubernetes.io/last-applied-configuration"}
LONGEST_LABEL = 63  # of a name in DNS
TAG = re.compile(r":[\w.-]*$")
DEFAULT_STRATEGY = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}


def parts_of(service: Object) -> list[str]:
    """The parts that an InferenceService has."""
    return [part for part in PARTS if service["spec"].get(part)]


def is_stopped(service: Object) -> bool:
    """Whether the InferenceService is stopped: no part of it may run."""
    return (service["metadata"].get("annotations") or {}).get(STOP) == "true"


def made_of(
    service: Object, runtime: Object, containers: list[Object], replicas: Mapping[str, int] | None = None
) -> list[Object]:
    """All objects of an InferenceService.

    `runtime` is its ClusterServingRuntime, `containers` all ClusterStorageContainers, `replicas` the number of pods
    that Deployments of autoscalers have now, by name.
    """
    if is_stopped(service):
        return []
    made = []
    for part in parts_of(service):
        made += _made_of_part(service, part, runtime, containers, replicas or {})
    return made


def _made_of_part(
    service: Object, part: str, runtime: Object, containers: list[Object], replicas: Mapping[str, int]
) -> list[Object]:
    spec = service["spec"][part]
    metadata = _metadata(service, part, runtime)
    host = f"{metadata['name']}-{metadata['namespace']}"
    if len(host) > LONGEST_LABEL:
        raise LookupError(f'failed creating host name: invalid domain name "{host}.example.com"')
    name = metadata["name"]
    pod = _pod(service, part, runtime, containers)
    selector = {"app": metadata["labels"]["app"]}
    scaled = (service["metadata"].get("annotations") or {}).get(AUTOSCALER, "hpa")
    minimum = spec.get("minReplicas", 1)
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": minimum if scaled == "none" else replicas.get(name, minimum),
            "selector": {"matchLabels": selector},
            "strategy": deepcopy(spec.get("deploymentStrategy") or DEFAULT_STRATEGY),
            "template": {"metadata": deepcopy(metadata), "spec": pod},
        },
    }
    ports = pod["containers"][0].get("ports") or [{"name": name, "containerPort": 8080, "protocol": "TCP"}]
    made: list[Object] = [
        deployment,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": deepcopy(metadata),
            "spec": {"ports": [_port(port, first=not index) for index, port in enumerate(ports)], "selector": selector},
        },
    ]
    if scaled == "hpa":
        made.append(horizontal(metadata, spec))
    elif scaled == "keda":
        made.append(scaled_object(metadata, spec))
    return made


def _metadata(service: Object, part: str, runtime: Object) -> Object:
    """Name, labels and annotations, which Deployment, pods, Service and autoscaler share."""
    metadata, spec = service["metadata"], service["spec"][part]
    annotations = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key not in NOT_HANDED_ON
    } | (spec.get("annotations") or {})
    if part == "predictor":
        annotations |= runtime["spec"].get("annotations") or {}
        address = spec["model"].get("storageUri")
        if address:
            annotations[f"{INTERNAL}storage-initializer-sourceuri"] = address
        else:  # a server of many models, which an agent fetches
            annotations |= {
                f"{INTERNAL}agent": "true",
                f"{INTERNAL}configMountPath": "/mnt/configs",
                f"{INTERNAL}configVolumeName": f"modelconfig-{metadata['name']}-0",
                f"{INTERNAL}modelDir": MODELS,
            }
    name = f"{metadata['name']}-{part}"
    own = {"app": f"isvc.{name}", "component": part, SERVICE_LABEL: metadata["name"]}
    return {
        "name": name,
        "namespace": metadata["namespace"],
        "labels": {**(metadata.get("labels") or {}), **(spec.get("labels") or {}), **own},
        "annotations": annotations,
    }


def _pod(service: Object, part: str, runtime: Object, containers: list[Object]) -> Object:
    spec = service["spec"][part]
    pod: Object = {key: deepcopy(value) for key, value in spec.items() if key not in EXTENSION}
    if part == "predictor":
        pod["containers"] = [_model_container(spec["model"], runtime), *pod.get("containers", [])]
    container = pod["containers"][0]
    if part != "explainer":
        container["env"] = [
            *(container.get("env") or []),
            {"name": "INFERENCE_SERVICE_NAME", "value": service["metadata"]["name"]},
        ]
    if part != "predictor":
        name, namespace = (service["metadata"][key] for key in ("name", "namespace"))
        arguments = container.setdefault("args", [])
        if not any(word.partition("=")[0] == "--predictor_host" for word in arguments):
            arguments += ["--predictor_host", f"{name}-predictor.{namespace}"]
        if not any(word.partition("=")[0] == "--http_port" for word in arguments):
            arguments += ["--http_port", "8080"]
        mount_all(pod, spec.get("storageUris") or [], containers)
    return pod


def _model_container(model: Object, runtime: Object) -> Object:
    """The runtime's container, overridden by the model's fields."""
    container: Object = deepcopy(runtime["spec"]["containers"][0])
    own = {key: deepcopy(value) for key, value in model.items() if key not in MODEL_EXTENSION}
    own.pop("name", None)
    container["args"] = [*(container.get("args") or []), *(own.pop("args", None) or [])]
    if not model.get("storageUri"):
        container["args"].append("--model-control-mode=explicit")
    container["env"] = [*(container.get("env") or []), *(own.pop("env", None) or [])]
    for field in ("resources", "securityContext"):
        own[field] = _merged(container.get(field) or {}, own.get(field) or {})
    image = own.get("image", container["image"])
    if model.get("runtimeVersion") and "@sha256:" not in image:
        own["image"] = f"{TAG.sub('', image)}:{model['runtimeVersion']}"
    return {**container, **own}


def _merged(low: Object, high: Object) -> Object:
    """Maps are merged, everything else is `high`'s."""
    both = {key: _merged(low[key], high[key]) for key in low.keys() & high.keys() if isinstance(low[key], dict)}
    return deepcopy({**low, **high, **both})


def _port(port: Object, first: bool) -> Object:
    """A Service's port: the first one of the container is reached as port 80."""
    number = port["containerPort"]
    name = port.get("name") or "http"
    made = {"name": name, "port": 80 if first else number, "protocol": "TCP", "targetPort": number}
    if name in ("h2c", "grpc"):
        made["appProtocol"] = "kubernetes.io/h2c"
    return made
