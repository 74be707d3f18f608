"""The fields of an InferenceService that are the deploy step's: which model it serves. Nothing else writes them."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from serving.rollout.cluster import INFERENCE_SERVICE, Object
from serving.rollout.first_model import STOP
from serving.rollout.release import MOUNT, Release

PREFIX = "polytask.dev/"
REPOSITORY_SHA256 = f"{PREFIX}repository-sha256"
MODEL_VERSION = f"{PREFIX}model-version"
BUNDLE = f"{PREFIX}bundle"
CONTRACT_SHA256 = f"{PREFIX}contract-sha256"
MODE = "serving.kserve.io/deploymentMode"

Replacement = Literal["recreate", "rolling"]
REPLACEMENTS: dict[Replacement, dict[str, Any]] = {
    # The old pods end before the new ones start: no second GPU is needed, and nobody is served in between.
    "recreate": {"type": "Recreate"},
    "rolling": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
}


@dataclass(frozen=True)
class Revision:
    """One model in service: addresses and checksums, and how its pods replace others (None in a second service).

    `explainer` says whether an explainer is served with it.
    """

    model_version: str
    contract_sha256: str
    repository_uri: str
    repository_sha256: str
    storage_uri: str
    mounted: str
    replacement: Mapping[str, Any] | None = None
    explainer: bool = False

    @classmethod
    def of_release(cls, release: Release, replacement: Replacement | None, explainer: bool = False) -> Self:
        """The revision that serves a release."""
        return cls(
            model_version=release.version,
            contract_sha256=release.contract.checksum,
            repository_uri=release.repository_uri,
            repository_sha256=release.repository_sha256,
            storage_uri=release.storage_uri,
            mounted=release.mounted,
            replacement=REPLACEMENTS[replacement] if replacement is not None else None,
            explainer=explainer,
        )

    @classmethod
    def of_live(cls, live: Object) -> Self | None:
        """What an InferenceService serves now; None where no deploy step has been."""
        predictor, transformer = live["spec"].get("predictor") or {}, live["spec"].get("transformer") or {}
        on_predictor, on_transformer = predictor.get("annotations") or {}, transformer.get("annotations") or {}
        uris = transformer.get("storageUris") or []
        address = (predictor.get("model") or {}).get("storageUri")
        if address is None or not uris or REPOSITORY_SHA256 not in on_predictor or BUNDLE not in on_transformer:
            return None
        return cls(
            model_version=on_predictor.get(MODEL_VERSION, ""),
            contract_sha256=on_transformer.get(CONTRACT_SHA256, ""),
            repository_uri=address,
            repository_sha256=on_predictor[REPOSITORY_SHA256],
            storage_uri=uris[0]["uri"],
            mounted=on_transformer[BUNDLE],
            replacement=predictor.get("deploymentStrategy"),
            explainer=BUNDLE in ((live["spec"].get("explainer") or {}).get("annotations") or {}),
        )

    def serves_the_same_as(self, other: "Revision") -> bool:
        """Whether the model is the same, however its pods are replaced."""
        return {**vars(self), "replacement": None} == {**vars(other), "replacement": None}

    def fields(self, name: str) -> Object:
        """The document to apply: these fields, and no other."""
        strategy = {} if self.replacement is None else {"deploymentStrategy": dict(self.replacement)}
        # The transformer and the explainer read the same bundle.
        reader = {
            **strategy,
            "annotations": {
                MODEL_VERSION: self.model_version,
                CONTRACT_SHA256: self.contract_sha256,
                BUNDLE: self.mounted,
            },
            "storageUris": [{"uri": self.storage_uri, "mountPath": MOUNT}],
        }
        return {
            "apiVersion": INFERENCE_SERVICE.api_version,
            "kind": INFERENCE_SERVICE.kind,
            "metadata": {"name": name, "annotations": {STOP: "false"}},
            "spec": {
                "predictor": {
                    **strategy,
                    "annotations": {MODEL_VERSION: self.model_version, REPOSITORY_SHA256: self.repository_sha256},
                    "model": {"storageUri": self.repository_uri},
                },
                "transformer": reader,
                **({"explainer": reader} if self.explainer else {}),
            },
        }


def second_service(live: Object, name: str, revision: Revision) -> Object:
    """A whole InferenceService called `name` beside a live one: the same but for the model, one pod of each part.

    It has no explainer: its answers are compared, not explained.
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
