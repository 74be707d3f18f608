"""The autoscalers that KServe makes of a part of an InferenceService."""

from copy import deepcopy
from typing import Any

from tests.cluster.api import Object

DEFAULT_CPU_TARGET = 80


def horizontal(metadata: Object, spec: Object) -> Object:
    """The HorizontalPodAutoscaler of a part: its metadata, and its spec in the InferenceService."""
    minimum = spec.get("minReplicas", 1)
    target = {"type": "Utilization", "averageUtilization": spec.get("scaleTarget", DEFAULT_CPU_TARGET)}
    resource = {"name": spec.get("scaleMetric", "cpu"), "target": target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": deepcopy(metadata),
        "spec": {
            "behavior": {},
            "maxReplicas": max(minimum, spec.get("maxReplicas") or minimum),
            "metrics": [{"type": "Resource", "resource": resource}],
            "minReplicas": minimum,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"]},
        },
    }


def scaled_object(metadata: Object, spec: Object) -> Object:
    """KEDA's ScaledObject of a part."""
    minimum = spec.get("minReplicas", 1)
    metrics = (spec.get("autoScaling") or {}).get("metrics")
    if metrics is None:
        target = {"type": "Utilization", "averageUtilization": spec.get("scaleTarget", DEFAULT_CPU_TARGET)}
        metrics = [{"type": "Resource", "resource": {"name": spec.get("scaleMetric", "cpu"), "target": target}}]
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 300}, "scaleUp": {"stabilizationWindowSeconds": 0}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": deepcopy(metadata),
        "spec": {
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}, "scalingModifiers": {}},
            "maxReplicaCount": max(minimum, spec.get("maxReplicas") or minimum),
            "minReplicaCount": minimum,
            "scaleTargetRef": {"name": metadata["name"]},
            "triggers": [_trigger(metric) for metric in metrics],
        },
    }


def _trigger(metric: Object) -> Object:
    if metric["type"] == "Resource":
        resource = metric["resource"]
        value = str(resource["target"]["averageUtilization"])
        return {"type": resource["name"], "metricType": resource["target"]["type"], "metadata": {"value": value}}
    found: dict[str, Any] = metric["external"]["metric"]
    value = str(metric["external"]["target"]["value"])
    metadata = {"serverAddress": found["serverAddress"], "query": found["query"], "threshold": value}
    return {"type": found["backend"], "metadata": metadata}
