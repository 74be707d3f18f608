"""The command `polytask models`: what it lists, and that it rolls back and prunes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.commands.models import models
from polytask.errors import PolytaskError
from polytask.registry.folder import FolderRegistry
from polytask.registry.version import RegistryError
from polytask.scenario import Scenario
from serving.registry.kubeflow import KubeflowRegistry
from tests.serving.registry.registry_server import State, serving
from tests.serving.triton.tiny import tiny_contract


@pytest.fixture
def registry(small_scenario: Scenario, tmp_path: Path) -> FolderRegistry:
    registry = FolderRegistry(tmp_path / "published")
    for number in (1, 2):
        folder = registry.folder / str(number)
        folder.mkdir(parents=True)
        contract = tiny_contract(small_scenario)
        metrics = {"item": {"ndcg@10": 0.1 * number, "mrr": 0.5}}
        contract.model_copy(update={"model_version": number, "metrics": metrics}).save(folder)
        registry.register(folder, None, {"data_sha256": f"{number}" * 64, "parent_model": "none"})
        registry.promote(number)
    return registry


def run(registry: FolderRegistry, scenario: Path, *arguments: str) -> Result:
    options = ["--scenario", str(scenario), "--registry-dir", str(registry.folder)]
    before = list(arguments[:1]) if arguments[:1] in (("rollback",), ("prune",)) else []
    result = CliRunner().invoke(models, [*before, *options, *arguments[len(before) :]])
    if result.exception is not None:
        raise result.exception
    return result


def test_the_list_has_metrics_and_lineage(registry: FolderRegistry, small_scenario_file: Path) -> None:
    output = run(registry, small_scenario_file).output
    lines = [line for line in output.splitlines() if "ndcg@10" in line]
    assert [("0.1000" in line, "live" in line) for line in lines] == [(True, False), (False, True)]
    assert "data_sha256 222222222222" in " ".join(output.split())
    assert "2" * 13 not in output
    assert "mrr" not in output
    content = json.loads(run(registry, small_scenario_file, "--json").output)
    assert [(entry["version"], entry["live"]) for entry in content] == [(1, False), (2, True)]
    assert content[0]["metrics"]["item"]["mrr"] == 0.5


def test_rolling_back(registry: FolderRegistry, small_scenario_file: Path) -> None:
    assert "version 1 is live again" in run(registry, small_scenario_file, "rollback", "--reason", "bad lists").output
    assert registry.versions()[1].tags["rolled_back"].endswith("to 1: bad lists")
    live = registry.live()
    assert live is not None and live.version == 1
    with pytest.raises(RegistryError, match="version 9 is not there"):
        run(registry, small_scenario_file, "rollback", "--to", "9")


def test_pruning(registry: FolderRegistry, small_scenario: Scenario, small_scenario_file: Path) -> None:
    for number in (3, 4):
        folder = registry.folder / str(number)
        folder.mkdir()
        tiny_contract(small_scenario).model_copy(update={"model_version": number}).save(folder)
        registry.register(folder, None, {})
        registry.promote(number)
    with pytest.raises(PolytaskError, match="no rule is given; allowed: --keep, --max-age-days, or `retention`"):
        run(registry, small_scenario_file, "prune")
    output = run(registry, small_scenario_file, "prune", "--keep", "1", "--dry-run").output
    assert output.splitlines() == [
        "version 1 would be removed: beyond the newest 1",
        "version 2 would be removed: beyond the newest 1",
        "2 versions would be removed, 2 kept",
    ]
    assert len(registry.versions()) == 4
    ruled = small_scenario_file.with_name("ruled.yaml")
    ruled.write_text(small_scenario_file.read_text() + "retention: {keep: 3}\n", encoding="utf-8")
    assert run(registry, ruled, "prune").output.splitlines() == [
        "version 1 removed: beyond the newest 3",
        "1 version removed, 3 kept",
    ]
    assert [version.version for version in registry.versions()] == [2, 3, 4]


def test_the_help_leads_to_pruning_and_names_its_rule() -> None:
    def words(*arguments: str) -> str:
        return " ".join(CliRunner().invoke(models, [*arguments, "--help"]).output.split())

    assert "polytask models prune --keep 5 --dry-run" in words()
    assert "the scenario's `retention` decides; it is an error when the scenario has none, as movielens" in words(
        "prune"
    )
    with pytest.raises(PolytaskError, match="no rule is given"):
        raise CliRunner().invoke(models, ["prune", "--scenario", "movielens"]).exception or AssertionError


def test_versions_of_another_registry(registry: FolderRegistry, small_scenario_file: Path, tmp_path: Path) -> None:
    with serving(State()) as url:
        other = KubeflowRegistry(url, "small", registry.folder)
        other.register(registry.folder / "1", None, {"data_sha256": "7" * 64})
        arguments = ("--registry", url)
        output = run(registry, small_scenario_file, *arguments).output
        assert "0.1000" in output and "777777777777" in output
        assert "222222222222" not in output
        other.promote(1)
        other.register(registry.folder / "2", None, {})
        other.promote(2)
        assert "version 1 is live again" in run(registry, small_scenario_file, "rollback", *arguments).output
        (first, second) = json.loads(run(registry, small_scenario_file, "--json", *arguments).output)
        assert (first["live"], second["live"]) == (True, False)
        empty = run(registry, small_scenario_file, "--registry", f"{url}?model=none").output
        assert empty == f"no versions in {url}, model none; a demo publishes the first\n"


def test_no_versions(small_scenario_file: Path, tmp_path: Path) -> None:
    output = run(FolderRegistry(tmp_path), small_scenario_file).output
    assert output.startswith("no versions in")
