"""The local runner's watcher, the code version, and a failing pipeline."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.local import PipelineError, code_version, run_pipeline, source_files
from pipelines.train_and_deploy import train_and_deploy
from polytask.errors import DataError
from polytask.scenario import Scenario, load_scenario


def test_code_version_follows_the_scenario(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("name: a", encoding="utf-8")
    second.write_text("name: b", encoding="utf-8")
    assert code_version(first) == code_version(first)
    assert code_version(first) != code_version(second)


def test_code_version_follows_the_data(small_scenario: Scenario, small_scenario_file: Path, tmp_path: Path) -> None:
    files = source_files(small_scenario)
    assert {"users.csv", "items.csv", "interactions.csv"} <= {path.name for path in files}
    changed = tmp_path / "items.csv"
    changed.write_text("other", encoding="utf-8")
    others = [changed if path.name == changed.name else path for path in files]
    assert code_version(small_scenario_file, files) != code_version(small_scenario_file, others)


def test_tables_that_are_not_there_are_named(small_scenario: Scenario, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match="no folder build/samples/smart_city; made-up tables: polytask sample-data smart_city"
    ):
        source_files(load_scenario("smart_city"))
    gone = small_scenario.model_copy(update={"source": small_scenario.source.model_copy(update={"path": "gone"})})
    with pytest.raises(DataError, match=r"source.path: there is no folder gone$"):
        source_files(gone)


def test_a_failing_step_is_named_with_its_cause(tmp_path: Path) -> None:
    arguments = {
        "scenario": str(tmp_path / "missing.yaml"),
        "feature_store": str(tmp_path / "store"),
        "target": str(tmp_path / "published"),
        "code_version": "test",
    }
    with pytest.raises(PipelineError, match=r"step 'ingest' failed[\s\S]*missing\.yaml: cannot be read"):
        run_pipeline(train_and_deploy, arguments, tmp_path / "run", Console(file=io.StringIO()))
    assert not (tmp_path / "published").exists()
    assert "missing.yaml" in (tmp_path / "run" / "pipeline.log").read_text(encoding="utf-8")
