"""Which requests the routes of the Gateway API let in: the model's, and nothing else of the transformer's ports.

The ports also serve metrics, the documentation of KServe's SDK, health of the server and its repository API.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from serving.manifests.problems import Document, Problem, name_of

HTTP_ROUTE, GRPC_ROUTE = "HTTPRoute", "GRPCRoute"
MODEL = "/v2/models/recommender"
SERVICE = "inference.GRPCInferenceService"


def _path(kind: str, path: str, method: str | None = None) -> dict[str, Any]:
    match: dict[str, Any] = {"path": {"type": kind, "value": path}}
    return match if method is None else {**match, "method": method}


# The matches of every rule, by the kind of its route. The deploy step writes the same.
MATCHES: Mapping[str, tuple[dict[str, Any], ...]] = {
    HTTP_ROUTE: (
        _path("Exact", f"{MODEL}/infer", "POST"),
        _path("Exact", MODEL, "GET"),
        _path("Exact", f"{MODEL}/ready", "GET"),
        _path("PathPrefix", f"{MODEL}/versions"),
    ),
    GRPC_ROUTE: tuple(
        {"method": {"service": SERVICE, "method": method}} for method in ("ModelInfer", "ModelMetadata", "ModelReady")
    ),
}


def check_routes(document: Document) -> list[Problem]:
    """Problems of the rules of an HTTPRoute or a GRPCRoute to a transformer; none for other kinds."""
    kind = str(document.get("kind"))
    if kind not in MATCHES:
        return []
    rules = (document.get("spec") or {}).get("rules") or ()
    found = [entry for number, rule in enumerate(rules) for entry in _rule(kind, number, rule)]
    return [Problem(name_of(document), path, message) for path, message in found]


def _rule(kind: str, number: int, rule: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    allowed, path = MATCHES[kind], f"spec.rules.{number}.matches"
    matches = rule.get("matches") or ()
    if not matches:
        yield path, f"is missing, so that every request is routed; allowed: {_shown(kind)}"
    for position, match in enumerate(matches):
        if match not in allowed:
            yield f"{path}.{position}", f"{match} routes more than the model's requests; allowed: {_shown(kind)}"


def _shown(kind: str) -> str:
    if kind == HTTP_ROUTE:
        return ", ".join(f"{one['path']['type']} {one['path']['value']}" for one in MATCHES[kind])
    return ", ".join(f"{one['method']['service']}/{one['method']['method']}" for one in MATCHES[kind])
