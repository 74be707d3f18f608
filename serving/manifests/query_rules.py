"""Queries of alerts and autoscalers select their namespace, and alerts have summary, description and runbook."""

import re
from collections.abc import Iterator
from typing import Any

from serving.manifests.problems import Document, Problem, name_of

NAMED = re.compile(r'namespace="([^"]*)"')
GROUPED = re.compile(r"by \([^)]*\bnamespace\b[^)]*\)|namespace:\w+:\w+")
ANNOTATIONS = ("summary", "description", "runbook_url")

Findings = Iterator[tuple[str, str]]


def check_queries(document: Document) -> list[Problem]:
    """Problems of the queries of an InferenceService or a PrometheusRule; none for other kinds."""
    namespace = (document.get("metadata") or {}).get("namespace", "")
    found = {"InferenceService": _autoscalers, "PrometheusRule": _alerts}.get(str(document.get("kind")))
    if found is None:
        return []
    return [Problem(name_of(document), path, message) for path, message in found(document.get("spec") or {}, namespace)]


def _autoscalers(spec: dict[str, Any], namespace: str) -> Findings:
    for part in ("predictor", "transformer", "explainer"):
        metrics = ((spec.get(part) or {}).get("autoScaling") or {}).get("metrics") or ()
        for position, entry in enumerate(metrics):
            query = ((entry.get("external") or {}).get("metric") or {}).get("query")
            if query and set(NAMED.findall(query)) != {namespace}:
                path = f"spec.{part}.autoScaling.metrics.{position}.external.metric.query"
                yield path, f'does not name namespace="{namespace}"; load of another namespace would scale this one'


def _alerts(spec: dict[str, Any], namespace: str) -> Findings:
    for number, group in enumerate(spec.get("groups") or ()):
        for position, rule in enumerate(group.get("rules") or ()):
            path, query = f"spec.groups.{number}.rules.{position}", rule.get("expr", "")
            named = set(NAMED.findall(query))
            if named - {namespace} or not (named or GROUPED.search(query)):
                yield f"{path}.expr", f'neither groups by namespace nor names namespace="{namespace}"'
            if "absent" in query and not named:
                yield f"{path}.expr", f'absent() has no labels of its own; expected namespace="{namespace}"'
            if "alert" in rule:
                for name in ANNOTATIONS:
                    if not (rule.get("annotations") or {}).get(name):
                        yield f"{path}.annotations.{name}", "is missing"
