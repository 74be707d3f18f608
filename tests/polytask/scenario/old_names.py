"""Scenario files of before the renaming, as mappings with the names of today: the shared cases use the old ones."""

import copy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from polytask.scenario.renamed import FIELDS, VALUES


def renamed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a scenario file with every old field and value under its new name."""
    result: dict[str, Any] = copy.deepcopy(dict(content))
    for path, values in VALUES.items():
        *parents, name = path.split(".")
        for section in _sections(result, parents):
            if section.get(name) in values:
                section[name] = values[section[name]]
    for old, new in FIELDS.items():
        *parents, name = old.split(".")
        for section in _sections(result, parents):
            if name in section:
                section[new.split(".")[-1]] = section.pop(name)
    return result


def _sections(content: Any, parents: list[str]) -> list[dict[str, Any]]:
    if not parents:
        return [content] if isinstance(content, dict) else []
    first, *rest = parents
    if first == "*":
        inner = content if isinstance(content, list) else list(content.values())
    else:
        inner = [content[first]] if isinstance(content, dict) and first in content else []
    return [section for one in inner for section in _sections(one, rest)]


if __name__ == "__main__":
    file = Path(sys.argv[1])
    sys.stdout.write(yaml.safe_dump(renamed(yaml.safe_load(file.read_text(encoding="utf-8"))), sort_keys=False))
