"""The live model: the registry's live version, compared with what an InferenceService serves."""

from dataclasses import dataclass

from polytask.contract.contract import REPOSITORY_FOLDER
from polytask.registry.version import ModelRegistry, ModelVersion


@dataclass(frozen=True)
class Live:
    """The version to compare a candidate with, None before the first; `note`: the difference, if any."""

    version: ModelVersion | None
    note: str = ""


def find_live(registry: ModelRegistry, namespace: str = "", name: str = "recommender") -> Live:
    """The live version: what the InferenceService `name` serves, or without a namespace the registry's.

    Where the service serves nothing that the registry knows, the registry's live version counts; `note` reports this.
    Raises RolloutError where the cluster is unavailable: a gate that does not know the live model must not pass.
    """
    registered = registry.live()
    if not namespace:
        return Live(registered)
    place = f"InferenceService {name} in {namespace}"
    address = _address(namespace, name)
    number = None if address is None else version_in(address)
    if address is None:
        served = f"{place} serves no model yet"
    elif number is None:
        served = f"{place} serves {address}, which names no version"
    else:
        known = {version.version: version for version in registry.versions()}
        if number in known:
            return Live(known[number], _difference(place, number, registered))
        served = f"{place} serves {number}, which is not in the registry {registry}"
    if registered is None:
        return Live(None, "" if address is None else served)
    return Live(registered, f"{served}; the registry's live version {registered.version} counts")


def version_in(address: str) -> int | None:
    """The model version in a storageUri, <storage_uri>/<version>/repository; None where there is none."""
    parts = address.rstrip("/").split("/")
    if parts[-1] == REPOSITORY_FOLDER:
        parts.pop()
    return int(parts[-1]) if parts and parts[-1].isdigit() else None


def _difference(place: str, number: int, registered: ModelVersion | None) -> str:
    if registered is None:
        return f"{place} serves {number}, the registry has no live version"
    if registered.version != number:
        return f"{place} serves {number}, but version {registered.version} is live in the registry"
    return ""


def _address(namespace: str, name: str) -> str | None:
    """The storageUri of an InferenceService's model; None where there is no service, or no model in it."""
    from serving.kubernetes.client import INFERENCE_SERVICE, connect

    cluster = connect(namespace)
    try:
        service = cluster.get(INFERENCE_SERVICE, name)
    finally:
        cluster.close()
    predictor = (service or {}).get("spec", {}).get("predictor") or {}
    address: str | None = (predictor.get("model") or {}).get("storageUri")
    return address
