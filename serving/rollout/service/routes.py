"""Where requests go: the rules of the Gateway API's routes, which name one InferenceService or share between two."""

from collections.abc import Mapping
from typing import Any

from serving.kubernetes.client import GRPC_ROUTE, HTTP_ROUTE, Cluster
from serving.manifests.route_rules import MATCHES
from serving.rollout.errors import RolloutError

# The transformer's Service: port 80 is its first container port, REST; gRPC keeps its number.
PORTS = {HTTP_ROUTE: 80, GRPC_ROUTE: 8081}

# Of the transformer's Service.
SUFFIX = "-transformer"


def require_routes(cluster: Cluster, name: str) -> None:
    """Raises RolloutError where a route called `name` is missing."""
    for kind in PORTS:
        if cluster.get(kind, name) is None:
            raise RolloutError(
                f"{kind.kind} {name} in {cluster.namespace} is missing; apply the component `canary` first"
            )


def others(cluster: Cluster, name: str) -> set[str]:
    """The InferenceServices other than `name` that a route called `name` sends requests or copies of requests to."""
    found = set()
    for kind in PORTS:
        route = cluster.get(kind, name) or {"spec": {}}
        for rule in route["spec"].get("rules") or ():
            found |= {backend["name"] for backend in rule.get("backendRefs") or () if backend.get("weight", 1)}
            mirrors = [one.get("requestMirror") or {} for one in rule.get("filters") or ()]
            found |= {mirror["backendRef"]["name"] for mirror in mirrors if mirror}
    return {backend.removesuffix(SUFFIX) for backend in found} - {name}


def lead_nowhere(cluster: Cluster, name: str) -> bool:
    """Whether there are routes called `name` that the deploy step has never given a backend."""
    found = [route for kind in PORTS if (route := cluster.get(kind, name)) is not None]
    return any(not any(rule.get("backendRefs") for rule in one["spec"].get("rules") or ()) for one in found)


def share(cluster: Cluster, name: str, weights: Mapping[str, int]) -> None:
    """Send requests to InferenceServices by weight. The weights are percentages and add up to 100."""
    assert sum(weights.values()) == 100, weights
    _apply(cluster, name, [_backend(service, weight) for service, weight in weights.items()], None)


def mirror(cluster: Cluster, name: str, shadow: str) -> None:
    """Send every request to `name`, and a copy to `shadow`, whose responses are discarded."""
    _apply(cluster, name, [_backend(name, 100)], shadow)


def _backend(service: str, weight: int) -> tuple[str, int]:
    return f"{service}{SUFFIX}", weight


def _apply(cluster: Cluster, name: str, backends: list[tuple[str, int]], shadow: str | None) -> None:
    for kind, port in PORTS.items():
        rule: dict[str, Any] = {
            "matches": list(MATCHES[kind.kind]),
            "backendRefs": [{"name": service, "port": port, "weight": weight} for service, weight in backends],
        }
        if shadow is not None:
            to = {"name": f"{shadow}{SUFFIX}", "port": port}
            rule["filters"] = [{"type": "RequestMirror", "requestMirror": {"backendRef": to}}]
        document = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": name},
            "spec": {"rules": [rule]},
        }
        cluster.apply(kind, document)
