"""Overlays and components of manifests/ as they are applied to the cluster of the tests."""

import os
from collections.abc import Iterable
from pathlib import Path

import yaml

from serving.manifests.render import documents, render
from tests.cluster.api import Object, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.custom_resources import NOT_AVAILABLE

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
# What was not applied, and why.
LEFT_OUT: set[str] = set()
FEATURE_STORE = "project: test\nprovider: local\n"


def overlay(name: str) -> list[Object]:
    """The documents of an overlay."""
    return documents(render(MANIFESTS / "overlays" / name))


def combined(folder: Path, components: Iterable[str], namespace: str) -> list[Object]:
    """The documents of the base with some components, rendered in `folder`, as an overlay has them."""
    up = os.path.relpath(MANIFESTS, folder)
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [f"{up}/base"],
        "components": [f"{up}/components/{name}" for name in components],
        "configMapGenerator": [{"name": "feature-store", "literals": [f"feature_store.yaml={FEATURE_STORE}"]}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return documents(render(folder))


def available(found: list[Object]) -> list[Object]:
    """Those whose kind the API server knows. The others are named at the end of the tests, with the reason."""
    LEFT_OUT.update(
        f"{one['kind']} {one['metadata']['name']}: {NOT_AVAILABLE[one['kind']]}"
        for one in found
        if one["kind"] in NOT_AVAILABLE
    )
    return [one for one in found if one["kind"] not in NOT_AVAILABLE]


def namespace_of(found: list[Object]) -> str:
    """The namespace that the documents create."""
    (name,) = (one["metadata"]["name"] for one in found if one["kind"] == "Namespace")
    return str(name)


def apply(plane: ControlPlane, found: list[Object]) -> str:
    """`kubectl apply` of documents, server-side and strict; returns what kubectl printed.

    The Namespace is applied first, by itself.
    """
    first = [one for one in found if one["kind"] == "Namespace"]
    rest = [one for one in found if one["kind"] != "Namespace"]
    printed = ""
    for part in (first, rest):
        if part:
            words = ("apply", "--server-side", "--validate=strict", "-f", "-")
            printed += plane.kubectl(*words, stdin=yaml.safe_dump_all(part)).stdout
    return printed


def check_no_difference(plane: ControlPlane, found: list[Object]) -> None:
    """Check that `kubectl diff` of applied documents is empty; it runs again if a status changed in between."""
    texts: list[str] = []

    def same() -> bool:
        done = plane.kubectl("diff", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(found), check=False)
        assert done.returncode in (0, 1), done.stderr
        texts.append(done.stdout)
        return not done.stdout

    wait_for(lambda: f"no difference: {texts[-1]}", same, 20)


def secrets(plane: ControlPlane, found: list[Object], namespace: str) -> None:
    """Create the secrets that nobody commits: each one that a document refers to, with the keys that it requires."""
    wanted: dict[str, set[str]] = {}
    for name, key in _references(found):
        wanted.setdefault(name, set()).add(key)
    for name, keys in wanted.items():
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": dict.fromkeys(keys, "secret"),
        }
        plane.api.apply(secret, "tests")


def _references(value: object) -> Iterable[tuple[str, str]]:
    """Name and key of every secret that a variable or a volume is made of."""
    if isinstance(value, dict):
        for field, entry in value.items():
            if field == "secretKeyRef":
                yield entry["name"], entry["key"]
            elif field == "secret" and isinstance(entry, dict) and "secretName" in entry:
                yield from ((entry["secretName"], item["key"]) for item in entry.get("items") or [{"key": "any"}])
            else:
                yield from _references(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _references(entry)
