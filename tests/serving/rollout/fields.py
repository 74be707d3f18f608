"""The fields of an object, by their paths: what a manager has set, and which ones the tests know."""

import copy
from collections.abc import Iterator
from typing import Any

Fields = dict[tuple[str, ...], Any]


# Fields that an InferenceService and a route of the tests may have; the API server knows more.
KNOWN = {
    *("apiVersion", "kind", "metadata", "spec", "name", "namespace", "labels", "annotations", "predictor"),
    *("transformer", "model", "modelFormat", "runtime", "protocolVersion", "storageUri", "storageUris", "containers"),
    *("deploymentStrategy", "type", "rollingUpdate", "maxSurge", "maxUnavailable", "minReplicas", "maxReplicas"),
    *("autoScaling", "metrics", "rules", "hostnames", "canaryTrafficPercent"),
}


OPEN = {"labels", "annotations"}  # maps: any key


def leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Lists are atomic, as they are for KServe's containers and storageUris."""
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from leaves(entry, (*place, key))
    else:
        yield place, value


def paths(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for place, _ in leaves(document):
        yield place


def known(place: tuple[str, ...]) -> bool:
    return all(key in KNOWN or OPEN & set(place[:position]) for position, key in enumerate(place))


def at(document: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def put(document: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    for key in place[:-1]:
        document = document.setdefault(key, {})
    document[place[-1]] = copy.deepcopy(value)
