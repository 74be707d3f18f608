"""The cluster that a kubeconfig names: whether it responds, whether KServe is there, and whether it can copy models."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serving.doctor.finding import CheckResult, fault, note, ok

CALL_SECONDS = 5
NEEDED = "inferenceservices.serving.kserve.io"
USEFUL = ("servingruntimes.serving.kserve.io", "clusterservingruntimes.serving.kserve.io")

APPLY = (
    "kubectl apply --server-side --field-manager=polytask-platform -k manifests/components/storage-container; "
    "until then only pvc:// works in a restricted namespace"
)
# The same as serving/manifests/builtin_kinds.py, which the extra `serve` does not need.
SUPPORTED = ((1, 35), (1, 37))

Objects = list[Mapping[str, Any]]


def kubeconfig() -> Path | None:
    """The file that kubectl would read; None where there is none."""
    names = os.environ.get("KUBECONFIG", "").split(os.pathsep)
    places = [Path(name) for name in names if name] or [Path.home() / ".kube" / "config"]
    return next((place for place in places if place.is_file()), None)


def check_cluster(config: Path | None, look: Callable[[Path], tuple[str, set[str]]] | None = None) -> CheckResult:
    """A cluster is needed by `polytask rollout` only. `look` gives the server's version and the names of its CRDs."""
    if config is None:
        return note("cluster", "no kubeconfig", "only polytask rollout needs one; see docs/deploy.md")
    try:
        version, definitions = (look or _look)(config)
    except Exception as error:  # noqa: BLE001 - the client raises errors of many libraries, each means the same here
        return fault("cluster", f"{config}: {_short(error)}", "check with: kubectl cluster-info; or unset KUBECONFIG")
    if NEEDED not in definitions:
        return fault("cluster", f"Kubernetes {version} without {NEEDED}", "install KServe; see docs/deploy.md")
    if not SUPPORTED[0] <= _minor(version) <= SUPPORTED[1]:
        allowed = " to ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
        return note("cluster", f"Kubernetes {version}", f"the manifests are checked for Kubernetes {allowed}")
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


def check_storage_containers(config: Path | None, look: Callable[[Path], Objects] | None = None) -> CheckResult:
    """The containers in which KServe copies models run in namespaces that enforce `restricted`.

    Args:
        config: The kubeconfig, None where there is none.
        look: Returns the cluster's ClusterStorageContainers.

    Returns:
        A fault where a container lacks a setting that PodSecurity requires: no pod with such a container is created.
    """
    if config is None:
        return note("storage container", "no kubeconfig", "only polytask rollout needs a cluster")
    try:
        found = (look or _storage_containers)(config)
    except Exception as error:  # noqa: BLE001 - as above
        advice = "needs KServe, and the right to list clusterstoragecontainers.serving.kserve.io"
        return note("storage container", _short(error), advice)
    enabled = [entry for entry in found if not entry.get("disabled")]
    if not enabled:
        return note("storage container", "the cluster has no ClusterStorageContainer", "install KServe's runtimes")
    missing = []
    for entry in enabled:
        settings = unrestricted((entry.get("spec") or {}).get("container") or {})
        if settings:
            missing.append(f"{entry['metadata']['name']} lacks {', '.join(settings)}")
    if missing:
        return fault("storage container", "; ".join(missing), APPLY)
    names = ", ".join(entry["metadata"]["name"] for entry in enabled)
    return ok("storage container", f"{names}: admitted in restricted namespaces")


def unrestricted(container: Mapping[str, Any]) -> list[str]:
    """The settings of a container's security context that the Pod Security Standard `restricted` finds missing."""
    security = container.get("securityContext") or {}
    required = {
        "allowPrivilegeEscalation: false": security.get("allowPrivilegeEscalation") is False,
        "runAsNonRoot: true": security.get("runAsNonRoot") is True,
        "capabilities.drop: [ALL]": "ALL" in ((security.get("capabilities") or {}).get("drop") or ()),
        "seccompProfile: RuntimeDefault": (security.get("seccompProfile") or {}).get("type")
        in ("RuntimeDefault", "Localhost"),
    }
    return [name for name, met in required.items() if not met]


def _storage_containers(config: Path) -> Objects:
    from kubernetes import client
    from kubernetes.config import new_client_from_config

    api: Any = new_client_from_config(config_file=str(config))
    api.configuration.retries = False
    found = client.CustomObjectsApi(api).list_cluster_custom_object(
        "serving.kserve.io", "v1alpha1", "clusterstoragecontainers", _request_timeout=CALL_SECONDS
    )
    items: Objects = found["items"]
    return items


def _minor(version: str) -> tuple[int, int]:
    """Major and minor of a version such as `v1.35.4-gke.1`; (0, 0) for one that is not of that form."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
