"""The handling of `storageUris` by KServe's manager: claims as volumes, all others by one storage initializer."""

from tests.cluster.api import Object
from tests.cluster.kserve_pods import MODELS, initializer, storage_container

CLAIM = "pvc://"


def mount_all(pod: Object, addresses: list[Object], containers: list[Object]) -> None:
    """Bring the models of `storageUris` into the pod's first container.

    Each claim is mounted whole at its `mountPath`: the folder that its address names is dropped. All other addresses
    share one volume at the deepest folder above their `mountPath`s, which one init container fills. Raises LookupError
    where KServe refuses them.
    """
    serving = pod["containers"][0]
    places = [(entry["uri"], entry.get("mountPath") or MODELS) for entry in addresses]
    for address, path in places:
        if address.startswith(CLAIM):
            claim = address.removeprefix(CLAIM).partition("/")[0]
            _mount(pod, serving, path, {"persistentVolumeClaim": {"claimName": claim}}, read_only=True)
    fetched = [(address, path) for address, path in places if not address.startswith(CLAIM)]
    if fetched:
        parent = common_parent([path for _, path in fetched])
        if parent == "/":
            raise LookupError(f"storage paths must have a common parent directory: {[path for _, path in fetched]}")
        # The first address decides for all, a claim too: which then gets the initializer of KServe's ConfigMap.
        container = storage_container(places[0][0], containers)
        if container is not None and not container.get("supportsMultiModelDownload", False):
            raise LookupError(f"storage container {container['container']['name']!r}: no multi-model download")
        arguments = [word for place in fetched for word in place]
        fetching = initializer(container, arguments)
        _mount(pod, serving, parent, {"emptyDir": {}}, read_only=True)
        _mount(pod, fetching, parent, {"emptyDir": {}}, read_only=False)
        pod.setdefault("initContainers", []).append(fetching)


def common_parent(paths: list[str]) -> str:
    """The deepest folder that all paths are in; a single path itself."""
    if len(paths) == 1:
        return paths[0]
    common = []
    for parts in zip(*(path.strip("/").split("/") for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return "/" + "/".join(common)


def _mount(pod: Object, container: Object, path: str, source: Object, read_only: bool) -> None:
    """Volumes are called by their path; one of that name that the container has already is kept."""
    name = path.strip("/").replace("/", "-")
    mounts = container.setdefault("volumeMounts", [])
    if any(mount["name"] == name for mount in mounts):
        return
    mounts.append({"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})})
    volumes = pod.setdefault("volumes", [])
    if not any(volume["name"] == name for volume in volumes):
        volumes.append({"name": name, **source})
