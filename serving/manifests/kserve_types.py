"""InferenceServices walked over the types of KServe's SDK: unknown fields, wrong types, missing required fields.

A process that imports this cannot import tritonclient.grpc: both register the same protobuf package.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from serving.manifests.problems import Document, Problem, name_of

PLAIN: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "datetime": (str,),
    "ResourceQuantity": (str, int, float),
}
CONTAINER = re.compile(r"(?P<kind>list\[|dict\(str, )(?P<inner>.+)[\])]$")


def check_types(document: Document) -> list[Problem]:
    """Problems of an InferenceService by the SDK's `openapi_types`; none for other kinds."""
    if document.get("kind") != "InferenceService":
        return []
    return [
        Problem(name_of(document), path.lstrip("."), text)
        for path, text in _walk("V1beta1InferenceService", document, "")
    ]


def _model(name: str) -> Any:
    """The SDK's class of that name, KServe's or Kubernetes'; None for one that this version of either does not have."""
    import kubernetes.client
    from kserve import models

    short = re.sub(r"^K8sIoApi[A-Za-z]+?V1", "V1", name)
    return getattr(models, name, None) or getattr(kubernetes.client, short, None)


def _walk(kind: str, value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Path and message of every mismatch between `value` and the type named `kind`."""
    inner = CONTAINER.match(kind)
    if kind == "object":
        return
    if kind in PLAIN:
        # A boolean is an int in Python, and no number in YAML.
        if not isinstance(value, PLAIN[kind]) or (isinstance(value, bool) and kind != "bool"):
            yield path, f"invalid value {value!r}; expected {kind}"
    elif inner is not None:
        wanted = list if inner["kind"] == "list[" else Mapping
        if not isinstance(value, wanted):
            yield path, f"invalid value {type(value).__name__}; expected {'a list' if wanted is list else 'a mapping'}"
            return
        entries = enumerate(value) if isinstance(value, list) else value.items()
        for key, entry in entries:
            yield from _walk(inner["inner"], entry, f"{path}.{key}")
    else:
        yield from _walk_model(kind, value, path)


def _walk_model(kind: str, value: Any, path: str) -> Iterator[tuple[str, str]]:
    model = _model(kind)
    if model is None:  # the CRD's schema still covers it
        return
    if not model.openapi_types and isinstance(value, (int, str)):  # a quantity, or a number that may be a name
        return
    if not isinstance(value, Mapping):
        yield path, f"invalid value {type(value).__name__}; expected a mapping of {kind}"
        return
    attributes = {key: attribute for attribute, key in model.attribute_map.items()}
    known: dict[str, Any] = {}
    for key, entry in value.items():
        if key not in attributes:
            yield f"{path}.{key}", f"is not a field of {kind}"
            continue
        known[attributes[key]] = entry
        yield from _walk(model.openapi_types[attributes[key]], entry, f"{path}.{key}")
    try:
        model(**known)
    except ValueError as error:
        yield path, str(error)
