"""Rollouts against the cluster of the tests, with the deployer's token and the data plane of the tests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernetes.client import Configuration

from polytask.scenario import Scenario
from serving.kubernetes.client import Cluster
from serving.rollout.release import RolloutRelease
from serving.rollout.settings import Settings
from serving.rollout.strategies.canary_analysis import ProbeJudge
from tests.cluster.api import Object, wait_for
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


def releases(scenario: Scenario) -> Callable[..., RolloutRelease]:
    """Makes the release of a model version at an address."""

    def make(version: int, storage: str = S3) -> RolloutRelease:
        contract = tiny_contract(scenario).model_copy(update={"model_version": version})
        return RolloutRelease(contract, f"{version:064x}", f"{storage}/{version}")

    return make


def quick_settings(url: str, **changes: Any) -> Settings:
    """Settings without long waits. `url` is that of the data plane."""
    values: dict[str, Any] = {
        "url": f"{url}/services/{{namespace}}/{{name}}",
        "ready_timeout": 60.0,
        "response_timeout": 20.0,
        "failing_seconds": 1.0,
        "poll_seconds": 0.2,
        "step_seconds": 0.5,
        "route_seconds": 0.3,
        "judges": (ProbeJudge(probes=3, slack_seconds=5.0),),
    }
    return Settings(**values | changes)


@dataclass(frozen=True)
class Live:
    """The objects of a namespace after a rollout, read as an administrator."""

    plane: ControlPlane
    namespace: str

    def service(self, name: str = "recommender") -> Object | None:
        """The InferenceService, None where there is none."""
        return self.plane.api.get("serving.kserve.io/v1beta1", "InferenceService", name, self.namespace)

    def check_gone(self, name: str) -> None:
        """Wait until an InferenceService is deleted: KServe's finalizer keeps it for a moment."""
        wait_for(f"{name} in {self.namespace} is deleted", lambda: self.service(name) is None)

    def message(self, condition: str = "PredictorReady") -> str:
        """The value of a condition in the InferenceService's status."""
        found = ((self.service() or {}).get("status") or {}).get("conditions") or ()
        return next((str(one.get("message")) for one in found if one["type"] == condition), "")

    def spec(self) -> Object:
        """The spec of the InferenceService that gets the requests."""
        found = self.service()
        assert found is not None, f"InferenceService recommender in {self.namespace}"
        spec: Object = found["spec"]
        return spec

    def pods(self, part: str, name: str = "recommender") -> list[Object]:
        """The pods of a part that are not ending."""
        found = self.plane.api.items("v1", "Pod", self.namespace, {"app": f"isvc.{name}-{part}"})
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    def versions(self, part: str, name: str = "recommender") -> set[str]:
        """The models of these pods."""
        return {one["metadata"]["annotations"]["polytask.dev/model-version"] for one in self.pods(part, name)}

    def check_serves_alone(self, version: str) -> None:
        """Wait until all pods that are left are of one model."""
        parts = ("predictor", "transformer")
        wait_for(
            lambda: f"only pods of model {version}: {[self.versions(part) for part in parts]}",
            lambda: all(self.versions(part) == {version} for part in parts),
        )

    def rule(self, kind: str = "HTTPRoute") -> Object:
        """The only rule of a route."""
        route = self.plane.api.get("gateway.networking.k8s.io/v1", kind, "recommender", self.namespace)
        assert route is not None, f"{kind} recommender in {self.namespace}"
        (rule,) = route["spec"]["rules"]
        found: Object = rule
        return found

    def weights(self, kind: str = "HTTPRoute") -> dict[str, int]:
        """Which Service gets how much of the requests."""
        return {one["name"]: one["weight"] for one in self.rule(kind)["backendRefs"]}

    def reasons(self) -> list[str]:
        """The reasons of the deploy step's Events, the first one first."""
        found = self.plane.api.items("v1", "Event", self.namespace)
        ours = [one for one in found if (one.get("source") or {}).get("component") == "polytask-deployer"]
        return [one["reason"] for one in sorted(ours, key=lambda one: int(one["metadata"]["resourceVersion"]))]
