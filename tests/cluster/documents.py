"""YAML files as Kubernetes reads them."""

from pathlib import Path

import yaml

from tests.cluster.api import Object


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML as Kubernetes does, for which `=` and times are strings."""


for _tag in ("value", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", yaml.SafeLoader.construct_yaml_str)


def documents(path: Path) -> list[Object]:
    """The documents of a YAML file."""
    with path.open(encoding="utf-8") as file:
        return [document for document in yaml.load_all(file, _Loader) if document]
