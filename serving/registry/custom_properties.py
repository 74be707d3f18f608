"""A version as the custom properties of Kubeflow Model Registry, which its user interface shows, and back."""

import math
from collections.abc import Mapping
from typing import Any

from polytask.registry.version import ModelVersion

Properties = dict[str, str | float]

METRIC, LINEAGE, TAG = "metric", "lineage", "tag"


def properties_of(version: ModelVersion) -> Properties:
    """`metric.<task>.<name>`, `lineage.<name>`, `tag.<name>` and a few without a dot.

    A metric that is not a number is left out: JSON has none.
    """
    properties: Properties = {
        "scenario": version.scenario,
        "bundle": version.bundle,
        "contract_sha256": version.contract_sha256,
        "created": version.created,
    }
    if version.promoted is not None:
        properties["promoted"] = version.promoted
    for task, metrics in version.metrics.items():
        properties |= {f"{METRIC}.{task}.{name}": float(v) for name, v in metrics.items() if math.isfinite(v)}
    properties |= {f"{LINEAGE}.{name}": value for name, value in version.lineage.items()}
    return properties | {f"{TAG}.{name}": value for name, value in version.tags.items()}


def version_of(name: str, properties: Mapping[str, Any]) -> ModelVersion:
    """The version called `name`, a number; properties that others have set are passed over."""
    parts: dict[str, dict[str, Any]] = {METRIC: {}, LINEAGE: {}, TAG: {}}
    for key, value in properties.items():
        part, dot, rest = key.partition(".")
        if dot and part in parts:
            parts[part][rest] = value
    metrics: dict[str, dict[str, float]] = {}
    for key, value in parts[METRIC].items():
        task, _, metric = key.partition(".")
        metrics.setdefault(task, {})[metric] = float(value)
    return ModelVersion(
        version=int(name),
        scenario=str(properties.get("scenario", "")),
        bundle=str(properties.get("bundle", "")),
        contract_sha256=str(properties.get("contract_sha256", "")),
        metrics=metrics,
        lineage={key: str(value) for key, value in parts[LINEAGE].items()},
        tags={key: str(value) for key, value in parts[TAG].items()},
        created=str(properties.get("created", "")),
        promoted=properties.get("promoted"),
    )
