"""The references of pods that a kubelet would wait for: kwok's pods become ready without them."""

from collections.abc import Iterator

from tests.cluster.api import Api, Object


def missing(api: Api, pod: Object) -> list[str]:
    """The ConfigMaps and Secrets of a pod that do not exist, or that lack the required key."""
    namespace = pod["metadata"]["namespace"]
    found = []
    for kind, name, key in _references(pod["spec"]):
        live = api.get("v1", kind, name, namespace)
        if live is None:
            found.append(f"{pod['metadata']['name']}: {kind} {name} is missing")
        elif key and key not in (live.get("data") or {}):
            found.append(f"{pod['metadata']['name']}: {kind} {name} has no key {key}")
    return found


def _references(spec: Object) -> Iterator[tuple[str, str, str]]:
    """Kind, name and key; optional ones are left out."""
    for volume in spec.get("volumes") or ():
        for kind, field, name in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
            source = volume.get(field)
            if source and not source.get("optional"):
                items = source.get("items") or [{"key": ""}]
                yield from ((kind, source[name], item["key"]) for item in items)
    for container in (*spec["containers"], *(spec.get("initContainers") or ())):
        for variable in container.get("env") or ():
            for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                reference = (variable.get("valueFrom") or {}).get(field)
                if reference and not reference.get("optional"):
                    yield kind, reference["name"], reference["key"]
