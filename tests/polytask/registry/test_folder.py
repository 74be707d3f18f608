"""The folder registry: register, tag, find the live version, roll back; versions from before there were records."""

import shutil
from pathlib import Path

import pytest

from polytask.contract import Contract
from polytask.registry.folder import FolderRegistry, point
from polytask.registry.version import RegistryError
from polytask.scenario import Scenario
from tests.serving.triton.tiny import tiny_contract


def published(scenario: Scenario, folder: Path, number: int) -> Path:
    contract: Contract = tiny_contract(scenario).model_copy(
        update={"model_version": number, "metrics": {"item": {"ndcg@10": number / 10}}}
    )
    (folder / str(number)).mkdir(parents=True)
    contract.save(folder / str(number))
    return folder / str(number)


def checkpoint(folder: Path, weights: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_text(weights, encoding="utf-8")
    return folder


@pytest.fixture
def registry(small_scenario: Scenario, tmp_path: Path) -> FolderRegistry:
    """Versions 1, 2 and 3, promoted one after the other."""
    registry = FolderRegistry(tmp_path / "published")
    for number in (1, 2, 3):
        bundle = published(small_scenario, registry.folder, number)
        registry.register(bundle, checkpoint(tmp_path / "made", f"weights {number}"), {"data_sha256": str(number)})
        registry.promote(number)
    return registry


def test_a_version_has_its_numbers_and_its_checkpoint(registry: FolderRegistry) -> None:
    live = registry.live()
    assert live is not None
    assert (live.version, live.scenario, live.metrics) == (3, "small", {"item": {"ndcg@10": 0.3}})
    assert live.lineage == {"data_sha256": "3"}
    assert (Path(live.checkpoint or "") / "model.safetensors").read_text(encoding="utf-8") == "weights 3"
    assert [version.version for version in registry.versions()] == [1, 2, 3]


def test_rolling_back_goes_further_each_time(registry: FolderRegistry) -> None:
    assert registry.roll_back("worse answers").version == 2
    assert registry.live() == registry.versions()[1]
    assert (registry.folder / "current").resolve().name == "2"
    left = registry.versions()[2]
    assert left.tags["rolled_back"].endswith("to 2: worse answers")
    assert registry.roll_back("again").version == 1
    with pytest.raises(RegistryError, match="no version was live before 1"):
        registry.roll_back("once more")
    assert registry.roll_back("forward", to=3).version == 3
    with pytest.raises(RegistryError, match="version 3 is live already"):
        registry.roll_back("there", to=3)


def test_tags_outlive_a_second_registration(registry: FolderRegistry, tmp_path: Path) -> None:
    registry.tag(2, "note", "quiet")
    again = registry.register(registry.folder / "2", None, {"data_sha256": "new"})
    assert again.tags == {"note": "quiet"}
    assert again.lineage == {"data_sha256": "new"}
    assert again.checkpoint is not None
    assert [version.version for version in registry.versions()] == [1, 2, 3]


def test_the_folder_can_move(registry: FolderRegistry, tmp_path: Path) -> None:
    shutil.move(registry.folder, tmp_path / "moved")
    live = FolderRegistry(tmp_path / "moved").live()
    assert live is not None
    assert Path(live.bundle) == tmp_path / "moved" / "3"
    assert Path(live.checkpoint or "") == tmp_path / "moved" / "checkpoints" / "3"


def test_a_version_from_before_there_were_records(small_scenario: Scenario, tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    assert registry.live() is None
    assert registry.versions() == []
    published(small_scenario, tmp_path, 8)
    point(tmp_path / "current", "8")
    live = registry.live()
    assert live is not None
    assert (live.version, live.checkpoint, live.promoted) == (8, None, None)
    registry.tag(8, "note", "old")
    assert registry.versions()[0].tags == {"note": "old"}


def test_what_is_not_there(registry: FolderRegistry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="version 9 is not there; there are 1, 2, 3"):
        registry.promote(9)
    with pytest.raises(RegistryError, match="no version is live"):
        FolderRegistry(tmp_path / "other").roll_back("nothing")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(registry.folder / "1", elsewhere)
    with pytest.raises(RegistryError, match=r"is to be registered; allowed: the published .*/1"):
        registry.register(elsewhere, None, {})


def test_a_broken_record_names_its_file(registry: FolderRegistry) -> None:
    (registry.folder / "records" / "2.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RegistryError, match=r"2\.json"):
        registry.versions()
