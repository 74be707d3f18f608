"""The status of an InferenceService as a function of its Deployments and pods, as observed with KServe's manager."""

from collections.abc import Mapping
from typing import Any

from tests.cluster.api import Object
from tests.cluster.kserve_rules import is_stopped

TITLES = {"predictor": "PredictorReady", "transformer": "TransformerReady", "explainer": "ExplainerReady"}
Condition = dict[str, Any]


def status_of(
    service: Object, deployments: Mapping[str, Object | None], pods: list[Object], problem: str = ""
) -> Object:
    """The status. `deployments` by part, `pods` those of the predictor, `problem` why nothing can be made.

    A Deployment's conditions count as they are, of whichever of its generations: after a change the status is the old
    pods' for a moment, and in a rolling update it is never anything but ready.
    """
    name, namespace = (service["metadata"][key] for key in ("name", "namespace"))
    conditions: list[Condition] = []
    for part, deployment in deployments.items():
        condition = _stopped() if is_stopped(service) else _condition(deployment, problem)
        info = {} if part == "predictor" else {"severity": "Info"}
        conditions.append({"type": TITLES[part], **condition, **info})
    (predictor,) = (one for one in conditions if one["type"] == "PredictorReady")
    ready: Condition = {"type": "Ready", "status": "True"}
    if predictor["status"] != "True":
        ready = {**predictor, "type": "Ready"}
    stopped: Condition = {"type": "Stopped", "status": str(is_stopped(service)), "severity": "Info"}
    conditions += [{"type": "IngressReady", "status": "True"}, ready, stopped]
    status: Object = {
        "address": {"url": f"http://{name}-transformer.{namespace}.svc.cluster.local"},
        "clusterServingRuntimeName": service["spec"]["predictor"]["model"].get("runtime", ""),
        "components": {part: {"url": f"http://{name}-{part}-{namespace}.example.com"} for part in deployments},
        "conditions": sorted(conditions, key=lambda one: str(one["type"])),
        "deploymentMode": "Standard",
        **_observed(deployments),
        "url": f"http://{name}-{namespace}.example.com",
    }
    if not is_stopped(service):
        status["modelStatus"] = _model_status(ready["status"] == "True", pods)
    return status


def _observed(deployments: Mapping[str, Object | None]) -> Object:
    """KServe copies the generation of the last Deployment that it has made, not the InferenceService's."""
    seen = [(one.get("status") or {}).get("observedGeneration", 0) for one in deployments.values() if one is not None]
    return {"observedGeneration": seen[-1]} if seen else {}


def _condition(deployment: Object | None, problem: str) -> Condition:
    if problem:
        return {"status": "False", "reason": "InvalidSpec", "message": problem}
    found = {one["type"]: one for one in ((deployment or {}).get("status") or {}).get("conditions") or ()}
    failure, available, progressing = (found.get(key) for key in ("ReplicaFailure", "Available", "Progressing"))
    if failure is not None and failure["status"] == "True":
        return {"status": "False", **_words(failure)}
    if available is None:
        return {"status": "Unknown", "reason": "DeploymentNotSeen", "message": "the Deployment has no conditions yet"}
    if available["status"] != "True":
        return {"status": "False", **_words(available)}
    return {"status": "True", **_words(progressing or available)}


def _words(condition: Condition) -> Condition:
    return {key: condition[key] for key in ("reason", "message") if condition.get(key)}


def _stopped() -> Condition:
    return {"status": "False", "reason": "Stopped"}


def _model_status(ready: bool, pods: list[Object]) -> Object:
    if ready:
        return _model("UpToDate", "Loaded", "Loaded", len(pods))
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            last = (container.get("lastState") or {}).get("terminated") or {}
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") == "CrashLoopBackOff" and container["name"] == "kserve-container":
                info = {"reason": "ModelLoadFailed", "message": last.get("message", ""), "exitCode": last["exitCode"]}
                failed = _model("BlockedByFailedLoad", "", "FailedToLoad", len(pods))
                return {**failed, "lastFailureInfo": info, "copies": {"failedCopies": 1, "totalCopies": len(pods)}}
    return _model("InProgress", "", "Pending", len(pods))


def _model(transition: str, active: str, target: str, copies: int) -> Object:
    return {
        "copies": {"failedCopies": 0, "totalCopies": copies},
        "states": {"activeModelState": active, "targetModelState": target},
        "transitionStatus": transition,
    }
