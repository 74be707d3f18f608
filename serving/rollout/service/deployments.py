"""Whether the pods of an InferenceService are those of what was applied, which its own status does not report.

In a rolling update the old pods stay available, and KServe's conditions stay True throughout. The Deployments that
KServe creates report the progress of new pods, and the pods report why they do not start.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from serving.kubernetes.client import DEPLOYMENT, POD, Cluster, Object

# A container that has ended so often does so each time; the first times a part that it needs may not have been there.
RESTARTS = 3
# The numbers of the API are 0 where they are missing.
Status = dict[str, Any]


def not_made(cluster: Cluster, name: str, document: Mapping[str, Any]) -> Iterator[str]:
    """One sentence for each part of `document` that KServe has not yet made the Deployment of."""
    for part, fields in document["spec"].items():
        deployment = cluster.get(DEPLOYMENT, f"{name}-{part}")
        if deployment is None:
            yield f"{part}: KServe has made no Deployment yet"
            continue
        template = deployment["spec"]["template"]["metadata"].get("annotations") or {}
        if any(template.get(key) != value for key, value in fields["annotations"].items()):
            yield f"{part}: its Deployment is not yet the one of this model"


def not_replaced(cluster: Cluster, name: str, document: Mapping[str, Any]) -> Iterator[str]:
    """One sentence for each part of `document` whose Deployment has not yet replaced all of its pods."""
    for part in document["spec"]:
        deployment = cluster.get(DEPLOYMENT, f"{name}-{part}")
        if deployment is not None:
            yield from _unfinished(part, deployment)


def some_available(cluster: Cluster, name: str, document: Mapping[str, Any]) -> bool:
    """Whether each part of `document` has a pod that is available."""
    deployments = [cluster.get(DEPLOYMENT, f"{name}-{part}") or {} for part in document["spec"]]
    return all((one.get("status") or {}).get("availableReplicas", 0) for one in deployments)


def failing(cluster: Cluster, name: str, document: Mapping[str, Any]) -> str | None:
    """The termination message of the first container of `document` in a crash loop; None if there is none."""
    for part, fields in document["spec"].items():
        for pod in cluster.labelled(POD, {"app": f"isvc.{name}-{part}"}):
            annotations = pod["metadata"].get("annotations") or {}
            if any(annotations.get(key) != value for key, value in fields["annotations"].items()):
                continue
            status: Status = pod.get("status") or {}
            containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
            for container in containers:
                waiting = (container.get("state") or {}).get("waiting") or {}
                if waiting.get("reason") == "CrashLoopBackOff" and container.get("restartCount", 0) >= RESTARTS:
                    last = (container.get("lastState") or {}).get("terminated") or {}
                    logged = str(last.get("message") or f"exit code {last.get('exitCode')}").strip()
                    return (
                        f"{part}: container {container['name']} of pod {pod['metadata']['name']} ends: {logged[-500:]}"
                    )
    return None


def _unfinished(part: str, deployment: Object) -> Iterator[str]:
    status: Status = deployment.get("status") or {}
    wanted = deployment["spec"].get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 1):
        yield f"{part}: its Deployment has not been looked at yet"
    elif updated < wanted:
        yield f"{part}: {updated} of {wanted} pods are new"
    elif status.get("replicas", 0) > updated:
        yield f"{part}: {status['replicas'] - updated} old pods are left"
    elif available < updated:
        yield f"{part}: {available} of {updated} pods are available"
