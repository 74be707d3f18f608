"""The time before the first model: KServe makes no pod of an InferenceService that is stopped. ADR 0045.

Without `storageUri` KServe treats a predictor as a server of many models. So an InferenceService is created stopped, by
a field manager of its own, which gives the annotation up at the first rollout. From then on the deploy step owns it.
"""

from copy import deepcopy

from serving.kubernetes.client import INFERENCE_SERVICE, Cluster, Object
from serving.rollout.errors import Refused, RolloutError

FIRST = "polytask-first"
STOP = "serving.kserve.io/stop"


def stopped(document: Object) -> Object:
    """A copy of an InferenceService of which KServe makes no pod; to be applied by the manager `polytask-first`."""
    copy = deepcopy(document)
    metadata = copy["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), STOP: "true"}
    return copy


def is_stopped(live: Object) -> bool:
    """Whether KServe makes no pods of it."""
    return (live["metadata"].get("annotations") or {}).get(STOP) == "true"


def start(cluster: Cluster, name: str, force: bool) -> None:
    """Let KServe make pods of an InferenceService that was created stopped and has got its model.

    Raises Conflicting where somebody else has stopped it, RolloutError where the overlay was not applied yet.
    """
    released = {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": {"name": name, "annotations": {STOP: "false"}},
    }
    try:
        cluster.apply(INFERENCE_SERVICE, released, manager=FIRST, force=force)
    except Refused as error:
        raise RolloutError(
            f"{error}; apply the overlay of manifests/ first: it owns all fields but the model"
        ) from error
