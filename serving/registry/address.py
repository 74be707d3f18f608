"""Which registry a setting names: the folder of published versions, or an address of Kubeflow Model Registry."""

import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from polytask.registry.folder import FolderRegistry
from polytask.registry.version import ModelRegistry, RegistryError

ALLOWED = "a folder, or http(s)://host[:port][?model=name] of Kubeflow Model Registry"
# As Kubeflow's own clients: the path of a file that holds the token. A pod finds its own without it.
TOKEN_PATH = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 - the name of a variable
POD_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def open_registry(setting: str, folder: Path, model: str) -> ModelRegistry:
    """The registry of a setting, with the files of the versions in `folder`.

    Empty is the registry in `folder` itself; another folder is the registry of the versions there. An address names a
    server; its registered model is `model`, unless the address has `?model=`.
    Raises RegistryError for a setting that is neither; no request is sent yet.
    """
    if not setting:
        return FolderRegistry(folder)
    if "://" not in setting:
        return FolderRegistry(Path(setting))
    parts = urlsplit(setting)
    query = parse_qs(parts.query)
    try:
        port = parts.port
    except ValueError as error:
        raise RegistryError(f"registry {setting!r}: {error}; allowed: {ALLOWED}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or set(query) - {"model"}:
        raise RegistryError(f"registry {setting!r}; allowed: {ALLOWED}")
    if parts.username or parts.password:
        raise RegistryError(
            f"registry {parts.hostname!r}: credentials in an address; allowed: a token, see {TOKEN_PATH}"
        )
    from serving.registry.kubeflow import KubeflowRegistry

    port = port or (8080 if parts.scheme == "http" else 443)
    name = query.get("model", [model])[0]
    return KubeflowRegistry(f"{parts.scheme}://{parts.hostname}:{port}", name, folder, registry_token())


def registry_token() -> str | None:
    """The token for a server: of the file that KF_PIPELINES_SA_TOKEN_PATH names, or the pod's own.

    Raises RegistryError where the variable names a file that cannot be read.
    """
    named = os.environ.get(TOKEN_PATH)
    path = Path(named) if named else POD_TOKEN
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError as error:
        if named:
            raise RegistryError(f"{TOKEN_PATH}: {path} cannot be read: {error.strerror}") from error
        return None
