"""Documents against CustomResourceDefinitions: the schemas an API server has, with closed objects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from polytask.errors import ServingError
from serving.manifests.problems import Document, Problem, name_of

Schemas = dict[tuple[str, str], Mapping[str, Any]]


def load_crds(folder: Path) -> Schemas:
    """(apiVersion, kind) -> JSON Schema of every CustomResourceDefinition in `folder`."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    schemas: Schemas = {}
    for path in sorted(folder.glob("*.yaml")):
        definition = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader
        spec = definition["spec"]
        for version in spec["versions"]:
            key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            schemas[key] = _closed(version["schema"]["openAPIV3Schema"])
    if not schemas:
        raise ServingError(f"{folder}: holds no CustomResourceDefinition")
    return schemas


def check_against_crds(document: Document, schemas: Schemas) -> list[Problem]:
    """Problems of a document that one of the definitions describes."""
    import jsonschema

    schema = schemas.get((str(document.get("apiVersion")), str(document.get("kind"))))
    if schema is None:
        return []
    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [Problem(name_of(document), ".".join(map(str, error.path)), error.message[:300]) for error in errors]


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI schema as a JSON Schema that refuses fields it does not name, as strict validation does."""
    closed = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
        closed["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    properties = schema.get("properties")
    if properties is not None:
        closed["properties"] = {name: _closed(inner) for name, inner in properties.items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed["additionalProperties"] = False
    if isinstance(schema.get("items"), Mapping):
        closed["items"] = _closed(schema["items"])
    if isinstance(schema.get("additionalProperties"), Mapping):
        closed["additionalProperties"] = _closed(schema["additionalProperties"])
    return closed
