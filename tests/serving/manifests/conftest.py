"""The overlays, rendered once."""

import copy
from pathlib import Path
from typing import Any

import pytest

from serving.manifests.render import OVERLAYS, documents, overlay_names, render

ROOT = Path(__file__).parents[3]


Overlays = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def overlays() -> Overlays:
    """Name of the overlay -> its documents."""
    folder = ROOT / OVERLAYS
    rendered = {name: documents(render(folder / name)) for name in overlay_names(folder)}
    assert set(rendered) == {"gpu", "local", "staging"}
    return rendered


def find(rendered: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """A copy of the document called `Kind/name`."""
    kind, _, wanted = name.partition("/")
    matches = [d for d in rendered if d["kind"] == kind and d["metadata"]["name"] == wanted]
    assert len(matches) == 1, name
    return copy.deepcopy(matches[0])


def patched(document: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """The document after a JSON patch (RFC 6902) of add, replace and remove."""
    document = copy.deepcopy(document)
    for step in patch:
        *place, last = (key.replace("~1", "/").replace("~0", "~") for key in step["path"][1:].split("/"))
        target: Any = document
        for key in place:
            target = target[int(key) if isinstance(target, list) else key]
        if isinstance(target, list):
            position = len(target) if last == "-" else int(last)
            if step["op"] == "add":
                target.insert(position, step["value"])
            elif step["op"] == "replace":
                target[position] = step["value"]
            else:
                del target[position]
        elif step["op"] == "remove":
            del target[last]
        else:
            assert step["op"] == "add" or last in target, step["path"]
            target[last] = step["value"]
    return document
