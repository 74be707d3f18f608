"""The refusals of KServe's validating webhook for an InferenceService, as far as the tests meet them."""

from tests.cluster.api import Object
from tests.cluster.kserve_rules import parts_of
from tests.cluster.kserve_storage_uris import CLAIM, common_parent


def refusal(service: Object) -> str | None:
    """The message of the real webhook; None if the InferenceService is admitted."""
    for part in parts_of(service):
        spec = service["spec"][part]
        most = spec.get("maxReplicas", 0)
        if most and spec.get("minReplicas", 1) > most:
            return "'MinReplicas' cannot be greater than MaxReplicas"
        paths = [one.get("mountPath", "") for one in spec.get("storageUris") or () if not one["uri"].startswith(CLAIM)]
        if len(paths) > 1 and common_parent(paths) == "/":
            return f"storage paths must have a common parent directory. Current paths: {paths}"
    return None
