"""The cluster that a kubeconfig names: whether it answers, and whether KServe is there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.doctor.finding import Finding, fault, note, ok

CALL_SECONDS = 5
NEEDED = "inferenceservices.serving.kserve.io"
USEFUL = ("servingruntimes.serving.kserve.io", "clusterservingruntimes.serving.kserve.io")


def kubeconfig() -> Path | None:
    """The file that kubectl would read; None where there is none."""
    names = os.environ.get("KUBECONFIG", "").split(os.pathsep)
    places = [Path(name) for name in names if name] or [Path.home() / ".kube" / "config"]
    return next((place for place in places if place.is_file()), None)


def check_cluster(config: Path | None, look: Callable[[Path], tuple[str, set[str]]] | None = None) -> Finding:
    """A cluster is needed by `polytask rollout` only. `look` gives the server's version and the names of its CRDs."""
    if config is None:
        return note("cluster", "no kubeconfig", "only polytask rollout needs one; see docs/deploy.md")
    try:
        version, definitions = (look or _look)(config)
    except Exception as error:  # noqa: BLE001 - the client raises errors of many libraries, each means the same here
        return fault("cluster", f"{config}: {_short(error)}", "check with: kubectl cluster-info; or unset KUBECONFIG")
    if NEEDED not in definitions:
        return fault("cluster", f"Kubernetes {version} without {NEEDED}", "install KServe; docs/deploy.md says how")
    missing = [name for name in USEFUL if name not in definitions]
    if missing:
        return note(
            "cluster", f"Kubernetes {version}, KServe without {', '.join(missing)}", "install KServe's runtimes"
        )
    return ok("cluster", f"Kubernetes {version} with KServe")


def _look(config: Path) -> tuple[str, set[str]]:
    from kubernetes import client
    from kubernetes.config import new_client_from_config

    api: Any = new_client_from_config(config_file=str(config))
    api.configuration.retries = False
    version = client.VersionApi(api).get_code(_request_timeout=CALL_SECONDS).git_version
    found = client.ApiextensionsV1Api(api).list_custom_resource_definition(_request_timeout=CALL_SECONDS)
    return version, {definition.metadata.name for definition in found.items}


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
