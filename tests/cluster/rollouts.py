"""Rollouts against the cluster of the tests: by the deployer's token, answered by the tests' data plane."""

from collections.abc import Callable
from typing import Any

from kubernetes.client import Configuration

from polytask.scenario import Scenario
from serving.rollout.cluster import Cluster
from serving.rollout.judges import ProbeJudge
from serving.rollout.release import Release
from serving.rollout.settings import Settings
from tests.cluster.api import Object
from tests.cluster.control_plane import ControlPlane
from tests.serving.triton.tiny import tiny_contract

DEPLOYER = "recommender-deployer"
S3, CLAIM = "s3://models/small", "pvc://models"


def deployer(plane: ControlPlane, namespace: str) -> Cluster:
    """The cluster with the rights of the deploy step, and no others."""
    configuration = Configuration(host=plane.url)
    configuration.ssl_ca_cert = str(plane.authority)
    configuration.api_key = {"authorization": f"Bearer {plane.token(DEPLOYER, namespace)}"}
    return Cluster(configuration, namespace, retry_seconds=0.1)


def releases(scenario: Scenario) -> Callable[..., Release]:
    """Makes the release of a model version at an address."""

    def make(version: int, storage: str = S3) -> Release:
        contract = tiny_contract(scenario).model_copy(update={"model_version": version})
        return Release(contract, f"{version:064x}", f"{storage}/{version}")

    return make


def quick_settings(url: str, **changes: Any) -> Settings:
    """Settings without long waits. `url` is that of the data plane."""
    values: dict[str, Any] = {
        "url": f"{url}/services/{{namespace}}/{{name}}",
        "ready_seconds": 60.0,
        "answer_seconds": 20.0,
        "failing_seconds": 1.0,
        "poll_seconds": 0.2,
        "step_seconds": 0.5,
        "judges": (ProbeJudge(probes=3, slack_seconds=5.0),),
    }
    return Settings(**values | changes)


def service(plane: ControlPlane, namespace: str, name: str = "recommender") -> Object:
    """An InferenceService as the API server has it."""
    found = plane.api.get("serving.kserve.io/v1beta1", "InferenceService", name, namespace)
    assert found is not None, f"InferenceService {name} in {namespace}"
    return found


def pods(plane: ControlPlane, namespace: str, part: str, name: str = "recommender") -> list[Object]:
    """The pods of a part that are not ending."""
    found = plane.api.items("v1", "Pod", namespace, {"app": f"isvc.{name}-{part}"})
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]


def reasons(plane: ControlPlane, namespace: str) -> list[str]:
    """The reasons of the deploy step's Events, the first one first."""
    found = plane.api.items("v1", "Event", namespace)
    ours = [one for one in found if (one.get("source") or {}).get("component") == "polytask-deployer"]
    return [one["reason"] for one in sorted(ours, key=lambda one: int(one["metadata"]["resourceVersion"]))]
