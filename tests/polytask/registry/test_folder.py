"""Behaviour specific to the registry in a folder; the common behaviour is tested in tests/serving/registry."""

import json
import shutil
from pathlib import Path

import pytest

from polytask.contract.contract import CONTRACT_FILE
from polytask.errors import ContractError
from polytask.registry.files import point
from polytask.registry.folder import FolderRegistry
from polytask.registry.version import RegistryError
from polytask.scenario import Scenario
from tests.serving.registry.published import checkpoint, published


@pytest.fixture
def registry(small_scenario: Scenario, tmp_path: Path) -> FolderRegistry:
    """Versions 1, 2 and 3, promoted one after the other."""
    registry = FolderRegistry(tmp_path / "published")
    for number in (1, 2, 3):
        bundle = published(small_scenario, registry.folder, number)
        registry.register(bundle, checkpoint(tmp_path / "made", f"weights {number}"), {"data_sha256": str(number)})
        registry.promote(number)
    return registry


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


def test_a_version_of_an_older_format_is_listed_and_cannot_be_made_live(registry: FolderRegistry) -> None:
    contract = registry.folder / "1" / CONTRACT_FILE
    contract.write_text(json.dumps({**json.loads(contract.read_text()), "format": 1}))
    assert [version.version for version in registry.versions()] == [1, 2, 3]
    before = registry.versions()
    for change in (lambda: registry.promote(1), lambda: registry.roll_back("a reason", 1)):
        with pytest.raises(ContractError, match=r"1/contract\.json: format 1; .* export it again"):
            change()
    assert registry.versions() == before
    live = registry.live()
    assert live is not None and live.version == 3


def test_a_broken_record_names_its_file(registry: FolderRegistry) -> None:
    (registry.folder / "records" / "2.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RegistryError, match=r"2\.json"):
        registry.versions()


def test_registering_again_keeps_the_time_of_promotion(registry: FolderRegistry) -> None:
    before = registry.versions()[1]
    again = registry.register(registry.folder / "2", None, {})
    assert (again.created, again.promoted) == (before.created, before.promoted)
    assert again.promoted is not None


def test_what_was_never_live_is_nothing_to_go_back_to(small_scenario: Scenario, tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    for number in (2, 1):
        registry.register(published(small_scenario, tmp_path, number), None, {})
    registry.promote(2)
    assert [version.version for version in registry.versions()] == [2, 1]  # as they were registered
    with pytest.raises(RegistryError, match="no version was live before 2"):
        registry.roll_back("worse")


def test_a_link_to_anything_but_a_version_is_reported(registry: FolderRegistry) -> None:
    point(registry.folder / "current", "newest")
    with pytest.raises(RegistryError, match=r"current: points at newest; allowed: the folder of a version"):
        registry.live()
