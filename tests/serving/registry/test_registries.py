"""The common behaviour of all registries: register, list, tag, find the live version, promote, roll back."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from polytask.registry.version import ModelRegistry, RegistryError
from polytask.scenario import Scenario
from serving.registry.address import open_registry
from serving.registry.rolled_out import check_registered, notify_registry
from tests.serving.registry.published import checkpoint, published
from tests.serving.registry.registry_server import State, serving


@pytest.fixture(params=["folder", "kubeflow"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModelRegistry]:
    if request.param == "folder":
        yield open_registry("", tmp_path / "published", "small")
        return
    with serving(State()) as url:
        yield open_registry(url, tmp_path / "published", "small")


@pytest.fixture
def registry(empty: ModelRegistry, small_scenario: Scenario, tmp_path: Path) -> ModelRegistry:
    """Versions 1, 2 and 3, promoted one after the other."""
    for number in (1, 2, 3):
        bundle = published(small_scenario, tmp_path / "published", number)
        empty.register(bundle, checkpoint(tmp_path / "made", f"weights {number}"), {"data_sha256": str(number)})
        empty.promote(number)
    return empty


def test_nothing_is_there(empty: ModelRegistry) -> None:
    assert empty.live() is None
    assert empty.versions() == []
    with pytest.raises(RegistryError, match="no version is live"):
        empty.roll_back("nothing")
    with pytest.raises(RegistryError):
        empty.promote(1)


def test_a_version_has_its_numbers_and_its_checkpoint(registry: ModelRegistry, tmp_path: Path) -> None:
    live = registry.live()
    assert live is not None
    assert (live.version, live.scenario, live.metrics) == (3, "small", {"item": {"ndcg@10": 0.3}})
    assert live.lineage == {"data_sha256": "3"}
    assert live.contract_sha256
    assert live.bundle == str(tmp_path / "published" / "3")
    assert (Path(live.checkpoint or "") / "model.safetensors").read_text(encoding="utf-8") == "weights 3"
    versions = registry.versions()
    assert [version.version for version in versions] == [1, 2, 3]
    assert versions[2] == live
    times = [version.promoted or "" for version in versions]
    assert times == sorted(times) and all(times)


def test_what_is_served_from_the_folder_follows(registry: ModelRegistry, tmp_path: Path) -> None:
    current = tmp_path / "published" / "current"
    assert current.resolve().name == "3"
    registry.roll_back("worse")
    assert current.resolve().name == "2"


def test_a_version_that_is_not_promoted_is_not_live(registry: ModelRegistry, small_scenario: Scenario, tmp_path: Path):
    made = registry.register(published(small_scenario, tmp_path / "published", 4), None, {})
    assert (made.version, made.promoted, made.checkpoint) == (4, None, None)
    live = registry.live()
    assert live is not None and live.version == 3
    assert registry.promote(4).promoted is not None
    live = registry.live()
    assert live is not None and live.version == 4


def test_rolling_back_goes_further_each_time(registry: ModelRegistry) -> None:
    assert registry.roll_back("worse metrics").version == 2
    assert registry.live() == registry.versions()[1]
    left = registry.versions()[2]
    assert left.tags["rolled_back"].endswith("to 2: worse metrics")
    assert registry.roll_back("again").version == 1
    with pytest.raises(RegistryError, match="no version was live before 1"):
        registry.roll_back("too far")
    assert registry.roll_back("forward", to=3).version == 3
    with pytest.raises(RegistryError, match="version 3 is live already"):
        registry.roll_back("there", to=3)


def test_tags_outlive_a_second_registration(registry: ModelRegistry, tmp_path: Path) -> None:
    before = registry.tag(2, "note", "quiet")
    again = registry.register(tmp_path / "published" / "2", None, {"data_sha256": "new"})
    assert again.tags == {"note": "quiet"}
    assert again.lineage == {"data_sha256": "new"}
    assert again.checkpoint is not None
    assert (again.created, again.promoted) == (before.created, before.promoted)
    assert registry.versions()[1] == again
    assert [version.version for version in registry.versions()] == [1, 2, 3]


def test_what_is_not_there(registry: ModelRegistry, tmp_path: Path) -> None:
    for call in (lambda: registry.promote(9), lambda: registry.tag(9, "a", "b"), lambda: registry.roll_back("x", to=9)):
        with pytest.raises(RegistryError, match="version 9 is not there; there are 1, 2, 3"):
            call()
    live = registry.live()
    assert live is not None and live.version == 3
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "published" / "1", elsewhere)
    with pytest.raises(RegistryError, match=r"is to be registered; allowed: the published .*/1"):
        registry.register(elsewhere, None, {})


def test_a_rollout_by_hand_is_told(registry: ModelRegistry, small_scenario: Scenario, tmp_path: Path) -> None:
    """Back to the second of three, forward to the third again, and on to one that was never live."""
    promoted = [version.promoted for version in registry.versions()]
    assert notify_registry(registry, 3) == f"registry {registry}: version 3 is live already"
    assert notify_registry(registry, 2) == f"registry {registry}: version 2 is live again, rolled back from 3"
    live = registry.live()
    assert live is not None
    assert live.version == 2
    assert "to 2: polytask rollout" in registry.versions()[2].tags["rolled_back"]
    assert [version.promoted for version in registry.versions()] == promoted
    assert notify_registry(registry, 3) == f"registry {registry}: version 3 is live"
    with pytest.raises(RegistryError, match=r"version 4 is not registered; allowed: 1, 2, 3, or no --registry"):
        check_registered(registry, 4)
    registry.register(published(small_scenario, tmp_path / "published", 4), None, {})
    check_registered(registry, 4)
    assert notify_registry(registry, 4).endswith("version 4 is live")
    live = registry.live()
    assert live is not None
    assert live.version == 4


def numbers(registry: ModelRegistry) -> list[int]:
    return [version.version for version in registry.versions()]


def test_a_removed_version_leaves_no_file_and_no_entry(registry: ModelRegistry, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    registry.remove(1)
    assert numbers(registry) == [2, 3]
    left = [path.relative_to(folder) for path in folder.rglob("*") if "1" in path.name.split(".")[0]]
    assert left == []
    with pytest.raises(RegistryError, match="version 1 is not there; there are 2, 3"):
        registry.remove(1)


def test_the_live_version_is_not_removed(registry: ModelRegistry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="version 3 is live and cannot be removed; make another one live first"):
        registry.remove(3)
    assert numbers(registry) == [1, 2, 3]
    assert (tmp_path / "published" / "3" / "contract.json").is_file()


def test_a_removal_that_was_interrupted_is_finished(registry: ModelRegistry, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "published"
    delete = shutil.rmtree

    def stopped(path: Path, **options: bool) -> None:
        if Path(path).parent == folder:
            raise KeyboardInterrupt
        delete(path, **options)

    monkeypatch.setattr("polytask.storage.removal.shutil.rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        registry.remove(1)
    assert not (folder / "1").exists(), "half of a bundle would look like a whole one"
    monkeypatch.undo()
    registry.remove(2)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_version_takes_the_place_of_another(
    registry: ModelRegistry, small_scenario: Scenario, tmp_path: Path
) -> None:
    registry.tag(3, "note", "good")
    before = registry.live()
    assert before is not None
    registry.register(published(small_scenario, tmp_path / "published", 4), None, {})
    replaced = registry.replace(3, 4)
    live = registry.live()
    assert live is not None and live == replaced
    assert (live.version, live.promoted) == (4, before.promoted)
    assert live.tags == {"note": "good", "replaces": "3"}
    assert numbers(registry) == [1, 2, 4]
    assert (tmp_path / "published" / "current").resolve().name == "4"
    assert registry.roll_back("worse").version == 2

    registry.register(published(small_scenario, tmp_path / "published", 5), None, {})
    registry.replace(1, 5)
    live = registry.live()
    assert live is not None and live.version == 2, "only the live version's place is the live one's"
    assert registry.roll_back("worse still").version == 5


def test_a_version_that_is_published_again_is_listed_again(
    registry: ModelRegistry, small_scenario: Scenario, tmp_path: Path
) -> None:
    registry.remove(1)
    registry.register(published(small_scenario, tmp_path / "published", 1), None, {})
    assert sorted(numbers(registry)) == [1, 2, 3]
    assert registry.promote(1).version == 1
