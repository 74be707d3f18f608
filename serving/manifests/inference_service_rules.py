"""What an API server takes and KServe's webhook, or a running pod, refuses. Sources: KServe 0.21's validation webhook
and component reconcilers.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from polytask.contract.triton_image import ONNX_RUNTIME, TRITON_IMAGE
from serving.manifests.problems import Document, Problem, name_of
from serving.manifests.serving_pod_rules import all_tritons, deployed_contract, option, orderly_end

PREFIX = "serving.kserve.io/"
NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
MODES = ("Standard",)
AUTOSCALERS = ("hpa", "keda", "external", "none")
PROTOCOLS = ("v1", "v2", "grpc-v1", "grpc-v2")
IMPLEMENTATIONS = {
    "predictor": (
        *("containers", "model", "sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface"),
        *("pmml", "lightgbm", "paddle"),
    ),
    "transformer": ("containers",),
    "explainer": ("containers", "art"),
}
GRPC_PORT = 9000
LONGEST_LABEL = 63

Findings = Iterator[tuple[str, str]]
Spec = Mapping[str, Any]


def check_inference_service(document: Document, *, deployed: bool = False) -> list[Problem]:
    """Problems of an InferenceService that no schema shows; none for other kinds.

    `deployed` allows the fields that the deploy step owns; a manifest leaves them to it.
    """
    if document.get("kind") != "InferenceService":
        return []
    spec = document.get("spec") or {}
    rules: list[Callable[[Document, Spec], Findings]] = [
        *(_name, _annotations, _replicas, _autoscaling, _implementations, _model, _ports, _protocol, _rest_only),
        *(_canary, _accelerators, _storage, deployed_contract, all_tritons, orderly_end),
    ]
    if not deployed:
        rules.append(_owned_by_the_deploy_step)
    found = [entry for rule in rules for entry in rule(document, spec)]
    return [Problem(name_of(document), path, message) for path, message in found]


def _annotation(document: Document, name: str) -> str | None:
    return ((document.get("metadata") or {}).get("annotations") or {}).get(PREFIX + name)


def _components(spec: Spec) -> Iterator[tuple[str, Spec]]:
    for name in IMPLEMENTATIONS:
        if isinstance(spec.get(name), Mapping):
            yield name, spec[name]


def _containers(spec: Spec) -> Iterator[tuple[str, Spec]]:
    """Path and content of every container, the predictor's model among them."""
    for name, component in _components(spec):
        if isinstance(component.get("model"), Mapping):
            yield f"spec.{name}.model", component["model"]
        for position, container in enumerate(component.get("containers") or ()):
            yield f"spec.{name}.containers.{position}", container


def _name(document: Document, spec: Spec) -> Findings:
    name = (document.get("metadata") or {}).get("name", "")
    if not NAME.match(name):
        yield "metadata.name", f"invalid value {name!r}; expected {NAME.pattern}"
    namespace = (document.get("metadata") or {}).get("namespace", "")
    for part, _ in _components(spec):
        host = f"{name}-{part}-{namespace}"  # KServe makes a host name of it and else creates no pod
        if len(host) > LONGEST_LABEL:
            yield "metadata.namespace", f"{host} has {len(host)} characters; allowed: {LONGEST_LABEL} for each part"


def _annotations(document: Document, spec: Spec) -> Findings:
    for name, allowed in (("deploymentMode", MODES), ("autoscalerClass", AUTOSCALERS)):
        value = _annotation(document, name)
        if value is not None and value not in allowed:
            yield f"metadata.annotations.{PREFIX}{name}", f"invalid value {value!r}; expected {', '.join(allowed)}"
    # KServe's shipped default may be Knative: leaving it open gives another service on another cluster.
    if _annotation(document, "deploymentMode") is None:
        yield f"metadata.annotations.{PREFIX}deploymentMode", f"is missing; allowed: {', '.join(MODES)}"
    if _annotation(document, "enable-prometheus-scraping") and _annotation(document, "deploymentMode") == "Standard":
        yield f"metadata.annotations.{PREFIX}enable-prometheus-scraping", "names the wrong port in Standard mode"


def _replicas(document: Document, spec: Spec) -> Findings:
    for name, component in _components(spec):
        least, most = component.get("minReplicas", 1), component.get("maxReplicas", 0)
        if most and most < least:
            yield f"spec.{name}.maxReplicas", f"{most} is less than minReplicas {least}"
        scaler = _annotation(document, "autoscalerClass")
        if least == 0 and _annotation(document, "deploymentMode") == "Standard" and scaler != "keda":
            yield f"spec.{name}.minReplicas", "0 in Standard mode; allowed: 1 or more, or autoscalerClass keda"


def _autoscaling(document: Document, spec: Spec) -> Findings:
    scaler = _annotation(document, "autoscalerClass")
    for name, component in _components(spec):
        path, metric, target = f"spec.{name}", component.get("scaleMetric"), component.get("scaleTarget")
        metrics = (component.get("autoScaling") or {}).get("metrics") or []
        if scaler == "hpa":
            if metric not in (None, "cpu", "memory"):
                yield f"{path}.scaleMetric", f"invalid value {metric!r}; allowed for hpa: cpu, memory"
            if target is not None and metric in (None, "cpu") and not 1 <= target <= 100:
                yield f"{path}.scaleTarget", f"invalid value {target}; expected 1 to 100 percent"
            if any(entry.get("type") != "Resource" for entry in metrics):
                yield f"{path}.autoScaling.metrics", "allowed for hpa: type Resource"
        elif scaler == "keda":
            if metric is not None:
                yield f"{path}.scaleMetric", "is not for keda; it reads autoScaling.metrics"
            if not metrics:
                yield f"{path}.autoScaling.metrics", "is empty; keda needs at least one"
            for position, entry in enumerate(metrics):
                yield from _keda_metric(f"{path}.autoScaling.metrics.{position}", entry)
        elif metric is not None or metrics:
            yield path, f"scales by a metric, and autoscalerClass is {scaler!r}; allowed: hpa, keda"


def _keda_metric(path: str, metric: Spec) -> Findings:
    kinds = {"Resource": "resource", "External": "external", "PodMetric": "podmetric"}
    if metric.get("type") not in kinds:
        yield f"{path}.type", f"invalid value {metric.get('type')!r}; expected {', '.join(kinds)}"
        return
    source = metric.get(kinds[metric["type"]])
    if not isinstance(source, Mapping):
        yield path, f"has no {kinds[metric['type']]}, which type {metric['type']} needs"
        return
    target = source.get("target") or {}
    if metric["type"] == "Resource":
        if source.get("name") == "cpu" and target.get("type") != "Utilization":
            yield f"{path}.resource.target.type", f"invalid value {target.get('type')!r}; allowed for cpu: Utilization"
        if target.get("type") == "Utilization" and not 1 <= (target.get("averageUtilization") or 0) <= 100:
            yield f"{path}.resource.target.averageUtilization", "allowed: 1 to 100 percent"
        return
    if not (source.get("metric") or {}).get("query"):
        yield f"{path}.{kinds[metric['type']]}.metric.query", "is empty"
    if target.get("value") is None:
        yield f"{path}.{kinds[metric['type']]}.target.value", "is missing: it is the threshold"


def _implementations(document: Document, spec: Spec) -> Findings:
    for name, component in _components(spec):
        given = [key for key in IMPLEMENTATIONS[name] if component.get(key)]
        if len(given) != 1:
            yield f"spec.{name}", f"invalid value {', '.join(given) or 'nothing'}; expected exactly one implementation"


def _model(document: Document, spec: Spec) -> Findings:
    model = (spec.get("predictor") or {}).get("model")
    if not isinstance(model, Mapping):
        return
    if not (model.get("modelFormat") or {}).get("name"):
        yield "spec.predictor.model.modelFormat", "is missing"
    if model.get("name"):
        yield "spec.predictor.model.name", "is not allowed: KServe names the container"
    if model.get("protocolVersion") not in (None, *PROTOCOLS):
        allowed = ", ".join(PROTOCOLS)
        yield "spec.predictor.model.protocolVersion", f"invalid value {model['protocolVersion']!r}; expected {allowed}"
    if not model.get("runtime"):
        yield "spec.predictor.model.runtime", "is missing: any runtime of the cluster could be chosen"
    found = model.get("runtimeVersion")
    if not found and not model.get("image"):
        yield "spec.predictor.model.runtimeVersion", "is missing: KServe's default Triton is of 2023"
    elif found and found != TRITON_IMAGE:
        yield (
            "spec.predictor.model.runtimeVersion",
            f"{found!r}; supported is {TRITON_IMAGE}, whose ONNX Runtime {ONNX_RUNTIME} the bundles were checked with",
        )


def _ports(document: Document, spec: Spec) -> Findings:
    for path, container in _containers(spec):
        ports = container.get("ports") or []
        # A Service with several ports needs a name for each.
        if len(ports) > 1 and not all(port.get("name") for port in ports):
            yield f"{path}.ports", "has a port without a name"


def _protocol(document: Document, spec: Spec) -> Findings:
    """The transformer has to speak what the predictor's Service leads to: its first port."""
    model = (spec.get("predictor") or {}).get("model")
    if not isinstance(model, Mapping):
        return
    protocol, ports = model.get("protocolVersion"), model.get("ports") or []
    first = ports[0].get("containerPort") if ports else None
    if protocol == "grpc-v2" and first != GRPC_PORT:
        yield "spec.predictor.model.ports.0", f"invalid value {first}; allowed with grpc-v2: {GRPC_PORT}, Triton's gRPC"
    if protocol != "grpc-v2" and first == GRPC_PORT:
        yield "spec.predictor.model.ports.0", f"{first} is Triton's gRPC port; allowed with {protocol}: another"
    for position, container in enumerate((spec.get("transformer") or {}).get("containers") or ()):
        spoken = option(container.get("args") or (), "--predictor_protocol") or "v1"
        if spoken != (protocol or "v1"):
            path = f"spec.transformer.containers.{position}.args"
            yield path, f"--predictor_protocol is {spoken}; the predictor's protocolVersion is {protocol}"


def _rest_only(document: Document, spec: Spec) -> Findings:
    grpc = ((spec.get("predictor") or {}).get("model") or {}).get("protocolVersion") == "grpc-v2"
    for name, component in _components(spec):
        for field in ("batcher", "logger"):
            if grpc and component.get(field):
                yield f"spec.{name}.{field}", "is for REST v1; with gRPC Triton batches by itself"


def _canary(document: Document, spec: Spec) -> Findings:
    for name, component in _components(spec):
        if component.get("canaryTrafficPercent") is not None:
            yield f"spec.{name}.canaryTrafficPercent", "works in Knative mode only"
    if spec.get("canary") and spec.get("transformer"):
        yield "spec.canary", "leads past the transformer; use two InferenceServices and a weighted route"


def _accelerators(document: Document, spec: Spec) -> Findings:
    for name, component in _components(spec):
        if component.get("resources"):
            yield f"spec.{name}.resources", "is the pod's; KServe reads the container's, of the model or of containers"


def _storage(document: Document, spec: Spec) -> Findings:
    predictor = spec.get("predictor") or {}
    if predictor.get("storageUris") and (predictor.get("model") or {}).get("storageUri"):
        yield "spec.predictor.storageUris", "is set together with model.storageUri; allowed: one of the two"
    for position, container in enumerate((spec.get("transformer") or {}).get("containers") or ()):
        named = any(entry.get("name") == "STORAGE_URI" for entry in container.get("env") or ())
        if named and spec["transformer"].get("storageUris"):
            path = f"spec.transformer.containers.{position}.env"
            yield path, "STORAGE_URI is set together with storageUris; allowed: one of the two"


def _owned_by_the_deploy_step(document: Document, spec: Spec) -> Findings:
    message = "is the deploy step's; a manifest that sets it takes back what was deployed"
    if _annotation(document, "stop") is not None:
        yield f"metadata.annotations.{PREFIX}stop", message
    for name, component in _components(spec):
        if component.get("storageUris"):
            yield f"spec.{name}.storageUris", message
        if (component.get("model") or {}).get("storageUri"):
            yield f"spec.{name}.model.storageUri", message
        for position, container in enumerate(component.get("containers") or ()):
            if any(entry.get("name") == "STORAGE_URI" for entry in container.get("env") or ()):
                yield f"spec.{name}.containers.{position}.env", f"STORAGE_URI {message}"
