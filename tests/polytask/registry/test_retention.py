"""Which versions are pruned: by count, by age, and never the live one nor the one to roll back to."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from polytask.registry.folder import FolderRegistry
from polytask.registry.retention import prunable, prune
from polytask.registry.version import ModelVersion
from polytask.scenario import Scenario
from tests.serving.registry.published import checkpoint, published

AT = datetime(2026, 6, 30, tzinfo=UTC)


def version(number: int, days: float, promoted: bool = True) -> ModelVersion:
    moment = (AT - timedelta(days=days)).isoformat(timespec="microseconds")
    return ModelVersion(
        version=number, scenario="small", bundle="", created=moment, promoted=moment if promoted else None
    )


VERSIONS = [version(1, 50), version(2, 40), version(3, 30), version(4, 20), version(5, 10, promoted=False)]


def removed(live: int | None, **rules: Any) -> list[int]:
    chosen = next((found for found in VERSIONS if found.version == live), None)
    return [found.version.version for found in prunable(VERSIONS, chosen, "here", at=AT, **rules)]


@pytest.mark.parametrize(
    ("live", "rules", "expected"),
    [
        (4, {"keep": 5}, []),
        (4, {"keep": 4}, [1]),
        (4, {"keep": 2}, [1, 2]),  # 3 is what a rollback goes to
        (4, {"keep": 1}, [1, 2]),
        (2, {"keep": 1}, [3, 4]),  # rolled back to 2: 1 was live before it
        (4, {"max_age_days": 35}, [1, 2]),
        (4, {"max_age_days": 5}, [1, 2, 5]),
        (4, {"max_age_days": 45, "keep": 3}, [1, 2]),
        (4, {}, []),
        (4, {"keep": 1, "served": [1]}, [2]),  # what a cluster serves stays, whatever the registry calls live
        (None, {"keep": 1}, []),
    ],
)
def test_what_is_beyond_the_rules_goes(live: int | None, rules: dict[str, Any], expected: list[int]) -> None:
    assert removed(live, **rules) == expected


def test_the_reason_names_the_rule() -> None:
    found = prunable(VERSIONS, VERSIONS[3], "here", keep=4, max_age_days=35, at=AT)
    assert [pruned.reason for pruned in found] == ["beyond the newest 4", "older than 35 days"]


def test_a_version_without_a_record_is_the_oldest_and_has_no_age() -> None:
    unknown = ModelVersion(version=9, scenario="small", bundle="")
    versions = [unknown, *VERSIONS]
    assert [p.version.version for p in prunable(versions, VERSIONS[3], "here", keep=5, at=AT)] == [9]
    assert 9 not in [p.version.version for p in prunable(versions, VERSIONS[3], "here", max_age_days=1, at=AT)]


def test_pruning_removes_the_files_and_a_dry_run_none(small_scenario: Scenario, tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path / "published")
    for number in (1, 2, 3, 4):
        bundle = published(small_scenario, registry.folder, number)
        registry.register(bundle, checkpoint(tmp_path / "made", "weights"), {})
        registry.promote(number)
    assert [found.version.version for found in prune(registry, keep=1, dry_run=True)] == [1, 2]
    assert len(registry.versions()) == 4
    logged: list[int] = []
    prune(registry, keep=1, on_removed=lambda pruned: logged.append(pruned.version.version))
    assert logged == [1, 2]
    assert [found.version for found in registry.versions()] == [3, 4]
    assert sorted(path.name for path in (registry.folder / "checkpoints").iterdir()) == ["3", "4"]
    assert sorted(path.name for path in (registry.folder / "records").iterdir()) == ["3.json", "4.json"]
