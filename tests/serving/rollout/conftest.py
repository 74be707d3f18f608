"""A cluster of the tests, a release in it, and settings without long waits."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import Configuration

from polytask.scenario import Scenario
from serving.kubernetes.client import GRPC_ROUTE, HTTP_ROUTE, INFERENCE_SERVICE, KUBECTL, Cluster, Resource
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.settings import Settings
from serving.rollout.strategies.canary_analysis import ProbeJudge
from tests.serving.rollout.api_server import NAMESPACE, Server
from tests.serving.rollout.api_server import Cluster as State
from tests.serving.rollout.dying import Died, Dying
from tests.serving.rollout.object_store import ObjectStore, storing
from tests.serving.triton.tiny import tiny_contract

SERVICE: dict[str, Any] = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {
        "name": "recommender",
        "labels": {"app.kubernetes.io/part-of": "polytask"},
        "annotations": {
            "serving.kserve.io/deploymentMode": "Standard",
            "serving.kserve.io/autoscalerClass": "keda",
        },
    },
    "spec": {
        "predictor": {
            "minReplicas": 1,
            "maxReplicas": 8,
            "autoScaling": {"metrics": []},
            "model": {
                "modelFormat": {"name": "triton"},
                "runtime": "kserve-tritonserver",
                "protocolVersion": "grpc-v2",
            },
        },
        "transformer": {"minReplicas": 2, "maxReplicas": 4, "containers": [{"name": "kserve-container"}]},
    },
}


def route(kind: Resource) -> dict[str, Any]:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "recommender"},
        "spec": {"hostnames": ["recommender.example.com"]},
    }


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def server(state: State) -> Iterator[Server]:
    with Server(state) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join(5)


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """Object storage, and the variables that lead to it."""
    with storing(monkeypatch) as store:
        yield store


@pytest.fixture
def cluster(server: Server) -> Iterator[Cluster]:
    cluster = Cluster(Configuration(host=server.url), NAMESPACE, retry_seconds=0.01)
    yield cluster
    cluster.close()


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A rendered overlay, as far as a rollout reads it."""
    path = tmp_path / "overlay.yaml"
    documents = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "recommender"}}, SERVICE]
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return path


@pytest.fixture
def installed(cluster: Cluster) -> Cluster:
    """A cluster after `kubectl apply --server-side -k` of an overlay with the component `canary`."""
    cluster.apply(INFERENCE_SERVICE, SERVICE, manager=KUBECTL)
    for kind in (HTTP_ROUTE, GRPC_ROUTE):
        cluster.apply(kind, route(kind), manager=KUBECTL)
    return cluster


@pytest.fixture
def settings(server: Server) -> Settings:
    return Settings(
        url=server.url + "/services/{name}",
        ready_timeout=2.0,
        response_timeout=0.5,
        failing_seconds=0.03,
        poll_seconds=0.005,
        step_seconds=0.02,
        route_seconds=0.01,
        judges=(ProbeJudge(probes=3, slack_seconds=1.0),),
    )


@pytest.fixture
def release(small_scenario: Scenario, state: State) -> Callable[..., RolloutRelease]:
    """Makes the release of a model version; the transformers of the tests know its contract."""

    def make(version: int, storage: str = "s3://models/small") -> RolloutRelease:
        contract = tiny_contract(small_scenario).model_copy(update={"model_version": version})
        state.contracts[str(version)] = contract.checksum
        return RolloutRelease(contract, f"{version:064x}", f"{storage}/{version}")

    return make


def live(state: State, name: str = "recommender", kind: str = "inferenceservices") -> dict[str, Any]:
    """An object as the API server has it."""
    (found,) = [entry for path, entry in state.objects.items() if path.endswith(f"/{kind}/{name}")]
    return found


def address(state: State, name: str = "recommender") -> str | None:
    """Which repository an InferenceService serves."""
    return live(state, name)["spec"]["predictor"]["model"].get("storageUri")


def set_address(cluster: Cluster, storage_uri: str, manager: str) -> None:
    """Point the InferenceService at another repository as a person does who takes the field over."""
    document = {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": {"name": "recommender"},
        "spec": {"predictor": {"model": {"storageUri": storage_uri}}},
    }
    cluster.apply(INFERENCE_SERVICE, document, manager=manager, force=True)


def reasons(state: State) -> list[str]:
    return [event["reason"] for event in state.events]


@pytest.fixture
def die(server: Server, settings: Settings) -> Callable[..., None]:
    """A rollout that is killed once `ends` is true of a write: method and path."""

    def die(release: RolloutRelease, ends: Callable[[str, str], bool], **changes: Any) -> None:
        cluster = Dying(server.url, ends)
        with pytest.raises(Died):
            roll_out(cluster, release, replace(settings, **changes))
        cluster.close()

    return die
