"""Every pod that mounts a feature_store.yaml has what the file needs: variables, files, and a way to its hosts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import yaml

from serving.manifests.network_rules import may_enter, may_leave
from serving.manifests.pods import Pods, pods_of, selects
from serving.manifests.problems import Document, Problem

FILE = "feature_store.yaml"
VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
PORTS = {"postgresql": 5432, "mysql": 3306, "redis": 6379}


def check_feature_stores(documents: Sequence[Document]) -> list[Problem]:
    """Problems of pods whose feature store they could not read."""
    files = {
        (document["metadata"].get("namespace", ""), document["metadata"]["name"]): document["data"][FILE]
        for document in documents
        if document.get("kind") == "ConfigMap" and FILE in (document.get("data") or {})
    }
    pods = list(pods_of(documents))
    return [
        Problem(client.document, client.path, message)
        for client in pods
        for name in _mounted(client)
        if (client.namespace, name) in files
        for message in _findings(client, name, files[client.namespace, name], documents, pods)
    ]


def _findings(client: Pods, name: str, text: str, documents: Sequence[Document], pods: Sequence[Pods]) -> Iterator[str]:
    settings = yaml.safe_load(text)
    for container in client.containers:
        known = {entry["name"] for entry in container.get("env") or ()}
        for variable in sorted({one or other for one, other in VARIABLE.findall(text)} - known):
            yield f"{FILE} of ConfigMap {name} expands {variable}; the container does not set it"
        mounts = [entry["mountPath"].rstrip("/") + "/" for entry in container.get("volumeMounts") or ()]
        for path in _paths(settings):
            if not any(path.startswith(mount) for mount in mounts):
                yield f"{FILE} of ConfigMap {name} reads {path}; no volume is mounted there"
    policies = [document for document in documents if document.get("kind") == "NetworkPolicy"]
    for host, port in _hosts(settings):
        server, target = _server(host, port, client, documents, pods)
        if not may_leave(policies, client, server, target):
            yield f"{FILE} of ConfigMap {name} connects to {host}:{port}; no NetworkPolicy permits that egress"
        if server is not None and not may_enter(policies, client, server, target):
            yield f"{FILE} of ConfigMap {name} connects to {host}:{port}; {server.document} does not admit these pods"


def _mounted(pods: Pods) -> list[str]:
    """The ConfigMaps that the pods mount."""
    return [volume["configMap"]["name"] for volume in pods.spec.get("volumes") or () if "configMap" in volume]


def _paths(settings: Any) -> Iterator[str]:
    """The absolute paths in the settings."""
    if isinstance(settings, Mapping):
        for value in settings.values():
            yield from _paths(value)
    elif isinstance(settings, str) and settings.startswith("/"):
        yield settings


def _hosts(settings: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Host and port of the registry and of the online store, where they are servers."""
    registry, online = settings.get("registry"), settings.get("online_store")
    if isinstance(registry, Mapping) and registry.get("registry_type") == "remote":
        host, _, port = registry["path"].rpartition(":")
        yield host, int(port)
    elif isinstance(registry, Mapping) and "://" in str(registry.get("path")):
        parts = urlsplit(VARIABLE.sub("x", registry["path"]))
        default = PORTS.get(parts.scheme.partition("+")[0], 443)
        if parts.hostname:
            yield parts.hostname, parts.port or default
    if isinstance(online, Mapping) and online.get("type") == "redis":
        for part in str(online.get("connection_string", "localhost:6379")).split(","):
            if "=" not in part:
                host, _, port = part.partition(":")
                yield host, int(port or PORTS["redis"])


def _server(
    host: str, port: int, client: Pods, documents: Sequence[Document], pods: Sequence[Pods]
) -> tuple[Pods | None, int]:
    """The pods behind a Service of the overlay and their port; None and the same port for any other host."""
    for document in documents:
        metadata = document.get("metadata") or {}
        names = (metadata.get("name"), f"{metadata.get('name')}.{client.namespace}")
        local = host in names or any(host.startswith(f"{name}.svc") for name in names[1:])
        if document.get("kind") == "Service" and local and metadata.get("namespace", "") == client.namespace:
            entry = next((entry for entry in document["spec"]["ports"] if entry["port"] == port), None)
            for found in pods:
                if selects({"matchLabels": document["spec"]["selector"]}, found.labels) and entry is not None:
                    return found, found.port(entry.get("targetPort", port)) or port
    return None, port
