"""The CustomResourceDefinitions: KServe's from a folder, all others from the folders of their Go modules."""

import os
from pathlib import Path

from tests.cluster.api import Api, Object, place, wait_for
from tests.cluster.documents import documents
from tests.cluster.programs import HERE, module_folder

MODULES = {
    "sigs.k8s.io/gateway-api": "config/crd/standard",
    "github.com/kedacore/keda/v2": "config/crd/bases",
    "github.com/prometheus-operator/prometheus-operator": "example/prometheus-operator-crd",
    "istio.io/api": "kubernetes",
}
ESTABLISHED_SECONDS = 60.0
# Kinds that manifests/ may use and whose definition is in no Go module.
NOT_AVAILABLE = {
    "FeatureStore": "the Feast operator's definition is in no Go module",
    "TrainJob": "Kubeflow Trainer's module has an older definition",
}


def kserve_folder() -> Path:
    """Where KServe's definitions are kept: POLYTASK_CRDS, or ../shared/crds of the repository. It may be missing."""
    named = os.environ.get("POLYTASK_CRDS")
    return Path(named) if named else HERE.parents[2] / "shared" / "crds"


def recordings_folder() -> Path:
    """Where the recordings of KServe's manager are kept, next to its definitions. It may be missing."""
    return kserve_folder().parent / "kserve"


def install(api: Api, kserve: Path) -> None:
    """Create all definitions and wait until the API server serves their kinds."""
    found = [document for path in sorted(kserve.rglob("*.yaml")) for document in documents(path)]
    for module, folder in MODULES.items():
        for path in sorted((module_folder(module, HERE / "crds") / folder).glob("*.yaml")):
            found += documents(path)
    definitions = [document for document in found if document["kind"] == "CustomResourceDefinition"]
    for definition in definitions:
        api.call("POST", place(definition["apiVersion"], definition["kind"]), definition)
    names = {definition["metadata"]["name"] for definition in definitions}
    wait_for(
        lambda: f"established: {sorted(_waiting(api, names))}", lambda: not _waiting(api, names), ESTABLISHED_SECONDS
    )


def _waiting(api: Api, names: set[str]) -> set[str]:
    served = api.items("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    return names - {one["metadata"]["name"] for one in served if _is_established(one)}


def _is_established(definition: Object) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
