"""Waits until an InferenceService is ready by the pods of what was applied, or raises the reason."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from serving.kubernetes.client import INFERENCE_SERVICE, Cluster, Object
from serving.rollout.errors import NotServing
from serving.rollout.service.deployments import failing, not_made, not_replaced

FAILED = ("BlockedByFailedLoad", "InvalidSpec")
# What the API server reports for a pod that its namespace does not admit. The same pod is refused each time.
REFUSED = "violates PodSecurity"
STORAGE_CONTAINER = "storage-initializer"


def wait_ready(
    cluster: Cluster,
    name: str,
    document: Mapping[str, Any],
    *,
    seconds: float,
    poll_seconds: float,
    failing_seconds: float,
) -> Object:
    """The object, once it is ready and all its pods are those of `document`.

    KServe's `observedGeneration` is that of a Deployment: whether it has seen a change is seen in the Deployments.
    Before that a status counts for nothing, even if it reports Ready. A failed model load and a pod that PodSecurity
    refuses end the waiting early, when they have been reported for `failing_seconds`: right after a change the report
    may still be the old model's. So does a new pod whose container ends again and again. Raises NotServing with the
    conditions that are not met.
    """
    end = time.monotonic() + seconds
    failing_since: float | None = None
    while True:
        live = cluster.get(INFERENCE_SERVICE, name)
        if live is None:
            raise NotServing(f"{name}: was deleted while it was waited for")
        status: dict[str, Any] = live.get("status") or {}
        waited_for = list(not_made(cluster, name, document))
        if waited_for:
            reason = "; ".join(waited_for)
            failing_since = None
        else:
            problems = [*_unmet(status), *not_replaced(cluster, name, document)]
            refusal = _refusal(status)
            if not problems and refusal is None:
                return live
            ending = failing(cluster, name, document)
            reason = "; ".join([refusal] if refusal is not None else [*problems, *filter(None, [ending])])
            failed = (
                refusal is not None
                or ending is not None
                or (status.get("modelStatus") or {}).get("transitionStatus") in FAILED
            )
            failing_since = (failing_since or time.monotonic()) if failed else None
            if failing_since is not None and time.monotonic() - failing_since >= failing_seconds:
                raise NotServing(f"{name}: {reason}")
        if time.monotonic() > end:
            raise NotServing(f"{name}: not ready within {seconds:g} s: {reason}")
        time.sleep(poll_seconds)


def is_ready(cluster: Cluster, live: Object, document: Mapping[str, Any]) -> bool:
    """Whether everything in the status is ready, and all pods are of `document`."""
    name = live["metadata"]["name"]
    if any(not_made(cluster, name, document)) or any(not_replaced(cluster, name, document)):
        return False
    return not any(_unmet(live.get("status") or {}))


def _refusal(status: dict[str, Any]) -> str | None:
    """The message about a pod that PodSecurity refuses, of any part, with what to do; None where there is none.

    A part whose old pods are still available is ready, whatever happens to the new ones: its message counts too.
    """
    for condition in status.get("conditions") or ():
        message = condition.get("message") or ""
        if REFUSED in message:
            remedy = (
                "apply the component `storage-container` (manifests/README.md), then delete the ReplicaSet to retry"
                if STORAGE_CONTAINER in message
                else "give its containers the security context that the namespace enforces"
            )
            return f"{condition['type']}: {message}; {remedy}"
    return None


def _unmet(status: dict[str, Any]) -> Iterator[str]:
    model = status.get("modelStatus") or {}
    if model.get("transitionStatus") in FAILED:
        info = model.get("lastFailureInfo") or {}
        yield f"{model['transitionStatus']}: {info.get('reason', '')} {info.get('message', '')}".rstrip()
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    if "Ready" not in conditions:
        yield "condition Ready is missing"
    for kind, condition in conditions.items():
        # A condition of severity Info, such as a route that is not wanted, does not count into Ready.
        if condition["status"] != "True" and condition.get("severity") != "Info":
            message = condition.get("message") or condition.get("reason") or "no reason given"
            yield f"{kind} is {condition['status']}: {message}"
