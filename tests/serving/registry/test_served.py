"""Which model is live, by a registry and an InferenceService that agree, differ, or are not there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from kubernetes.client import Configuration

from polytask.registry.folder import FolderRegistry
from polytask.scenario import Scenario
from serving.kubernetes.client import INFERENCE_SERVICE, KUBECTL, Cluster
from serving.registry import served
from serving.registry.served import find_live, version_in
from serving.rollout.errors import RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.service.revision import Revision
from tests.serving.registry.published import published
from tests.serving.rollout.api_server import Cluster as State
from tests.serving.rollout.api_server import Server
from tests.serving.rollout.conftest import NAMESPACE, SERVICE, cluster, release, server, state

__all__ = ["cluster", "release", "server", "state"]  # fixtures of the rollout's tests


@pytest.fixture
def registry(small_scenario: Scenario, tmp_path: Path) -> FolderRegistry:
    """Versions 1 and 2, of which 2 is live."""
    registry = FolderRegistry(tmp_path / "published")
    for number in (1, 2):
        registry.register(published(small_scenario, registry.folder, number), None, {})
        registry.promote(number)
    return registry


@pytest.fixture
def serve(
    server: Server, cluster: Cluster, release: Callable[..., RolloutRelease], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Makes the InferenceService serve a version, or an address; None for a service without a model."""
    monkeypatch.setattr(
        "serving.kubernetes.client.connect",
        lambda namespace: Cluster(Configuration(host=server.url), namespace, retry_seconds=0.01),
    )

    def serve(version: int | None, address: str | None = None) -> None:
        cluster.apply(INFERENCE_SERVICE, SERVICE, manager=KUBECTL)
        if version is not None:
            document = Revision.of_release(release(version), "rolling").fields("recommender")
            if address is not None:
                document["spec"]["predictor"]["model"]["storageUri"] = address
            cluster.apply(INFERENCE_SERVICE, document)

    return serve


def test_without_a_cluster_the_registry_says(registry: FolderRegistry, tmp_path: Path) -> None:
    live = find_live(registry)
    assert live.version == registry.live()
    assert live.note == ""
    assert find_live(FolderRegistry(tmp_path / "empty")) == served.Live(None)


@pytest.mark.usefixtures("serve")
def test_a_first_deployment_has_none(registry: FolderRegistry, serve: Callable[..., None], tmp_path: Path) -> None:
    empty = FolderRegistry(tmp_path / "empty")
    assert find_live(empty, NAMESPACE) == served.Live(None)
    serve(None)
    assert find_live(empty, NAMESPACE) == served.Live(None)
    live = find_live(registry, NAMESPACE)
    assert live.version is not None and live.version.version == 2
    assert live.note == "InferenceService recommender in test serves no model yet; the registry's live version 2 counts"


def test_what_is_served_counts(registry: FolderRegistry, serve: Callable[..., None]) -> None:
    serve(2)
    live = find_live(registry, NAMESPACE)
    assert live == served.Live(registry.live())
    serve(1)
    live = find_live(registry, NAMESPACE)
    assert live.version is not None and live.version.version == 1
    assert live.note == "InferenceService recommender in test serves 1, but version 2 is live in the registry"


def test_what_the_registry_does_not_know(registry: FolderRegistry, serve: Callable[..., None], tmp_path: Path) -> None:
    serve(9)
    live = find_live(registry, NAMESPACE)
    assert live.version is not None and live.version.version == 2
    assert "serves 9, which is not in the registry" in live.note
    assert "the registry's live version 2 counts" in live.note
    empty = find_live(FolderRegistry(tmp_path / "empty"), NAMESPACE)
    assert empty.version is None
    assert "serves 9, which is not in the registry" in empty.note
    serve(9, "s3://elsewhere/model")
    assert "serves s3://elsewhere/model, which names no version" in find_live(registry, NAMESPACE).note


def test_a_registry_without_a_live_version(registry: FolderRegistry, serve: Callable[..., None]) -> None:
    (registry.folder / "current").unlink()
    serve(1)
    live = find_live(registry, NAMESPACE)
    assert live.version is not None and live.version.version == 1
    assert live.note.endswith("serves 1, the registry has no live version")


def test_a_cluster_that_does_not_answer_is_no_first_deployment(
    registry: FolderRegistry, serve: Callable[..., None], state: State
) -> None:
    state.failures = [500] * 20
    with pytest.raises(RolloutError, match="the server is busy"):
        find_live(registry, NAMESPACE)


@pytest.mark.parametrize(
    ("address", "version"),
    [
        ("s3://models/small/12/repository", 12),
        ("pvc://models/12/repository/", 12),
        ("s3://models/12", 12),
        ("s3://12/models/repository", None),
        ("", None),
    ],
)
def test_the_version_in_an_address(address: str, version: int | None) -> None:
    assert version_in(address) == version
