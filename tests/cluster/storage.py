"""KServe's storage container as a default installation has it, and restricted as the manifests make it."""

import yaml

from tests.cluster.api import Object
from tests.cluster.control_plane import ControlPlane
from tests.cluster.overlays import MANIFESTS

COMPONENT = MANIFESTS / "components" / "storage-container"
# The field manager that the component's first lines name.
PLATFORM = "polytask-platform"
NAME = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ClusterStorageContainer", "metadata": {"name": "default"}}
SECURITY = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED: Object = {**NAME, "spec": {"container": {"securityContext": SECURITY}}}


def restrict(plane: ControlPlane) -> None:
    """Apply the component as its first lines describe; apply the data of the tests if there is no such component."""
    words = ("apply", "--server-side", "--validate=strict", f"--field-manager={PLATFORM}")
    if COMPONENT.is_dir():
        plane.kubectl(*words, "-k", str(COMPONENT))
    else:
        plane.kubectl(*words, "-f", "-", stdin=yaml.safe_dump(RESTRICTED))


def restore(plane: ControlPlane) -> None:
    """As before: what the field manager set is removed."""
    plane.api.apply(NAME, PLATFORM)
