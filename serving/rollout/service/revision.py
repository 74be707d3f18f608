"""The fields of an InferenceService that are the deploy step's: which model it serves. Nothing else writes them."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from serving.kubernetes.client import INFERENCE_SERVICE, Object
from serving.rollout.release import PVC, RolloutRelease
from serving.rollout.strategies.first_model import STOP

PREFIX = "polytask.dev/"
REPOSITORY_SHA256 = f"{PREFIX}repository-sha256"
MODEL_VERSION = f"{PREFIX}model-version"
BUNDLE = f"{PREFIX}bundle"
# Nothing reads it: it shows in a Deployment whether the pods are those of another address of the same model.
STORAGE_URI = f"{PREFIX}storage-uri"
CONTRACT_SHA256 = f"{PREFIX}contract-sha256"
MODE = "serving.kserve.io/deploymentMode"
# Between two bundles in an annotation of a transformer that has both.
SEPARATOR = ","

Replacement = Literal["recreate", "rolling"]
REPLACEMENTS: dict[Replacement, dict[str, Any]] = {
    # The old pods end before the new ones start: no second GPU is needed, and nobody is served in between.
    "recreate": {"type": "Recreate"},
    "rolling": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
}


@dataclass(frozen=True)
class Revision:
    """One model in service: addresses and checksums, and how its pods replace others (None in a second service).

    `explainer`: whether an explainer is served with it.
    """

    model_version: str
    contract_sha256: str
    repository_uri: str
    repository_sha256: str
    storage_uri: str
    mount_path: str
    mounted: str
    replacement: Mapping[str, Any] | None = None
    explainer: bool = False

    @classmethod
    def of_release(cls, release: RolloutRelease, replacement: Replacement | None, explainer: bool = False) -> Self:
        """The revision that serves a release."""
        return cls(
            model_version=release.version,
            contract_sha256=release.contract.checksum,
            repository_uri=release.repository_uri,
            repository_sha256=release.repository_sha256,
            storage_uri=release.storage_uri,
            mount_path=release.mount_path,
            mounted=release.mounted,
            replacement=REPLACEMENTS[replacement] if replacement is not None else None,
            explainer=explainer,
        )

    @classmethod
    def of_live(cls, live: Object) -> Self | None:
        """What Triton of an InferenceService serves; None where no deploy step has been.

        A transformer that has two bundles, in the middle of a rolling update, has that of Triton among them.
        """
        predictor, transformer = live["spec"].get("predictor") or {}, live["spec"].get("transformer") or {}
        on_predictor, on_transformer = predictor.get("annotations") or {}, transformer.get("annotations") or {}
        mounts = transformer.get("storageUris") or []
        address = (predictor.get("model") or {}).get("storageUri")
        if address is None or not mounts or REPOSITORY_SHA256 not in on_predictor or BUNDLE not in on_transformer:
            return None
        folders = on_transformer[BUNDLE].split(SEPARATOR)
        contracts = on_transformer.get(CONTRACT_SHA256, "").split(SEPARATOR)
        # An earlier deploy step wrote no contract on the predictor, and one bundle alone.
        contract = on_predictor.get(CONTRACT_SHA256, contracts[0])
        mounted = dict(zip(contracts, folders, strict=False)).get(contract, folders[0])
        mount = next((one for one in mounts if _inside(mounted, one["mountPath"])), mounts[0])
        return cls(
            model_version=on_predictor.get(MODEL_VERSION, ""),
            contract_sha256=contract,
            repository_uri=address,
            repository_sha256=on_predictor[REPOSITORY_SHA256],
            storage_uri=mount["uri"],
            mount_path=mount["mountPath"],
            mounted=mounted,
            replacement=predictor.get("deploymentStrategy"),
            explainer=BUNDLE in ((live["spec"].get("explainer") or {}).get("annotations") or {}),
        )

    def serves_the_same_as(self, other: "Revision") -> bool:
        """Whether the model is the same, however its pods are replaced."""
        return {**vars(self), "replacement": None} == {**vars(other), "replacement": None}

    def is_whole_in(self, live: Object) -> bool:
        """Whether an InferenceService serves this revision in all parts, and no transformer another one too."""
        there = Revision.of_live(live)
        return there is not None and there.serves_the_same_as(self) and not has_two_bundles(live)

    def fields(self, name: str, also: "Revision | None" = None) -> Object:
        """The document to apply: these fields, and no other.

        With `also` transformer and explainer read the bundles of both, and serve whichever Triton has.
        """
        strategy = {} if self.replacement is None else {"deploymentStrategy": dict(self.replacement)}
        both = [self] if also is None else [also, self]
        mounts = {one.mount_path: one.storage_uri for one in both}
        # Where a claim comes first, KServe gives the container that copies the others no security context.
        claims_last = sorted(mounts.items(), key=lambda mount: mount[1].startswith(PVC))
        # The transformer and the explainer read the same bundles.
        reader = {
            **strategy,
            "annotations": {
                MODEL_VERSION: SEPARATOR.join(one.model_version for one in both),
                CONTRACT_SHA256: SEPARATOR.join(one.contract_sha256 for one in both),
                BUNDLE: SEPARATOR.join(one.mounted for one in both),
                STORAGE_URI: SEPARATOR.join(one.storage_uri for one in both),
            },
            "storageUris": [{"uri": uri, "mountPath": path} for path, uri in claims_last],
        }
        return {
            "apiVersion": INFERENCE_SERVICE.api_version,
            "kind": INFERENCE_SERVICE.kind,
            "metadata": {"name": name, "annotations": {STOP: "false"}},
            "spec": {
                "predictor": {
                    **strategy,
                    "annotations": {
                        MODEL_VERSION: self.model_version,
                        CONTRACT_SHA256: self.contract_sha256,
                        REPOSITORY_SHA256: self.repository_sha256,
                        STORAGE_URI: self.repository_uri,
                    },
                    "model": {"storageUri": self.repository_uri},
                },
                "transformer": reader,
                **({"explainer": reader} if self.explainer else {}),
            },
        }

    def as_record(self) -> dict[str, Any]:
        """As JSON, for the Lease."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """What `as_record` returned."""
        return cls(**record)


def has_two_bundles(live: Object) -> bool:
    """Whether the transformers of an InferenceService are those of the first phase of a rolling change."""
    annotations = (live["spec"].get("transformer") or {}).get("annotations") or {}
    return SEPARATOR in annotations.get(BUNDLE, "")


def second_service(live: Object, name: str, revision: Revision) -> Object:
    """A second InferenceService called `name` next to a live one: the same but for the model, one pod of each part.

    It has no explainer: its responses are compared, not explained.
    """
    metadata = live["metadata"]
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key == MODE}
    document: Object = {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": {
            "name": name,
            "labels": dict(metadata.get("labels") or {}),
            "annotations": {**annotations, "serving.kserve.io/autoscalerClass": "none"},
        },
        "spec": deepcopy(live["spec"]),
    }
    document["spec"].pop("explainer", None)
    for part, fields in replace(revision, explainer=False).fields(name)["spec"].items():
        component = document["spec"][part]
        for field in ("autoScaling", "scaleMetric", "scaleMetricType", "scaleTarget", "deploymentStrategy"):
            component.pop(field, None)
        component.update(minReplicas=1, maxReplicas=1)
        component["annotations"] = {**(component.get("annotations") or {}), **fields["annotations"]}
        component.pop("storageUris", None)
        if "storageUris" in fields:
            component["storageUris"] = fields["storageUris"]
        if "model" in fields:
            component["model"].update(fields["model"])
    return document


def _inside(folder: str, mount_path: str) -> bool:
    return folder == mount_path or folder.startswith(f"{mount_path}/")
