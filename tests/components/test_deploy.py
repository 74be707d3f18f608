"""The deploy step publishes, and rolls out only if a cluster is set."""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.deploy import deploy
from polytask.data.tables import Tables
from polytask.registry.folder import FolderRegistry
from polytask.scenario import Scenario
from serving.rollout import deploy as rollout
from serving.rollout.errors import RolloutError
from serving.rollout.settings import Outcome
from tests.serving.bundle import VERSION, write_bundle
from tests.serving.registry.published import published
from tests.serving.registry.registry_server import State, serving


@pytest.fixture
def bundle(small_scenario: Scenario, tables: Tables, tmp_path: Path) -> Any:
    write_bundle(tmp_path / "bundle", small_scenario, tables)
    return SimpleNamespace(path=str(tmp_path / "bundle"))


@pytest.fixture
def model(tmp_path: Path) -> Any:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    return SimpleNamespace(path=str(tmp_path / "model"), metadata={"lineage": {"data_sha256": "ab"}})


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The rollouts that the step requests, recorded instead of sent to a cluster."""
    made: list[dict[str, Any]] = []
    signature = inspect.signature(rollout.deploy)

    def record(*arguments: Any, **settings: Any) -> Outcome:
        made.append(signature.bind(*arguments, **settings).arguments)
        return Outcome("deployed", str(VERSION), 3.0)

    monkeypatch.setattr(rollout, "deploy", record)
    return made


def test_without_an_address_only_the_folder_changes(
    bundle: Any, model: Any, calls: list[dict[str, Any]], tmp_path: Path
):
    published = deploy.python_func(bundle=bundle, model=model, registry_dir=str(tmp_path / "published"))
    assert published == str(tmp_path / "published" / str(VERSION))
    assert (tmp_path / "published" / "current").resolve() == Path(published)
    assert calls == []
    live = FolderRegistry(tmp_path / "published").live()
    assert live is not None and live.lineage == {"data_sha256": "ab"}
    assert (Path(live.checkpoint or "") / "model.safetensors").read_bytes() == b"weights"


def test_old_versions_are_removed_as_the_scenario_says(
    bundle: Any, model: Any, small_scenario: Scenario, small_scenario_file: Path, tmp_path: Path
) -> None:
    target, ruled = tmp_path / "published", tmp_path / "ruled.yaml"
    registry = FolderRegistry(target)
    for number in (1, 2, 3):
        registry.register(published(small_scenario, target, number), None, {})
        registry.promote(number)
    inputs = {"bundle": bundle, "model": model, "registry_dir": str(target)}
    deploy.python_func(**inputs, scenario=str(small_scenario_file))
    assert len(registry.versions()) == 4
    ruled.write_text(small_scenario_file.read_text() + "retention: {keep: 1}\n", encoding="utf-8")
    deploy.python_func(**inputs, scenario=str(ruled))
    assert [version.version for version in registry.versions()] == [3, VERSION]


def test_with_an_address_the_published_bundle_is_rolled_out(
    bundle: Any, model: Any, calls: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = str(tmp_path / "published")
    cluster = {"storage_uri": "s3://models/small", "namespace": "test", "strategy": "canary"}
    published = deploy.python_func(bundle=bundle, model=model, registry_dir=target, **cluster)
    assert calls == [{"bundle": Path(published), "name": "recommender", **cluster}]
    assert f"deployed: model {VERSION} in 3 s" in capsys.readouterr().out
    live = FolderRegistry(Path(target)).live()
    assert live is not None and live.version == VERSION


def test_a_shadow_is_registered_and_not_live(bundle: Any, model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(rollout, "deploy", lambda *_, **__: Outcome("shadowing", str(VERSION), 3.0))
    target = tmp_path / "published"
    deploy.python_func(
        bundle=bundle, model=model, registry_dir=str(target), storage_uri="s3://models", namespace="test"
    )
    assert [version.version for version in FolderRegistry(target).versions()] == [VERSION]
    assert FolderRegistry(target).live() is None


def test_another_registry_by_its_address(bundle: Any, model: Any, tmp_path: Path):
    target, state = tmp_path / "published", State()
    with serving(state) as url:
        deploy.python_func(bundle=bundle, model=model, registry_dir=str(target), registry=url)
    (registered,) = state.models
    assert (registered["name"], registered["customProperties"]["live_version"]["string_value"]) == (
        "small",
        str(VERSION),
    )
    assert FolderRegistry(target).versions()[0].lineage == {}  # no record there


def test_a_rollout_that_fails_fails_the_step(bundle: Any, model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def fail(*arguments: Any, **settings: Any) -> Outcome:
        raise RolloutError("serves model 1 again")

    monkeypatch.setattr(rollout, "deploy", fail)
    with pytest.raises(RolloutError, match="serves model 1 again"):
        deploy.python_func(
            bundle=bundle,
            model=model,
            registry_dir=str(tmp_path / "published"),
            storage_uri="s3://models",
            namespace="test",
        )
    assert FolderRegistry(tmp_path / "published").live() is None
