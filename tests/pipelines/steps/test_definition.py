"""A pipeline as it runs on a cluster, here on the local runner: the report comes after success and after failure."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from components.fingerprint import fingerprint
from pipelines.local_runner.local import PipelineError, run_pipeline
from pipelines.steps.definition import ClusterSettings, pipeline, step
from polytask.scenario import Scenario


@pipeline(name="look", title="Look", description="Looks.")
def look(scenario: str = "movielens", place: str = "/mnt/{scenario}/{scenario}") -> None:
    """Look.

    Args:
        scenario: Which.
        place: Where.
    """
    step(fingerprint(scenario=scenario, code_version=place), "Look", "light", cached=False)


def reported(scenario: Scenario, file: str, root: Path) -> str:
    built = look.compiled_for(ClusterSettings(file, scenario.name, scenario.resources))
    console = Console(file=io.StringIO())
    try:
        run_pipeline(built, {"scenario": file}, root, console)
    except PipelineError:
        assert not file.endswith("small.yaml")
    [page] = root.glob("*/report/outcome")
    return page.read_text(encoding="utf-8")


def test_the_report_tells_that_it_succeeded(small_scenario: Scenario, small_scenario_file: Path, tmp_path: Path):
    page = reported(small_scenario, str(small_scenario_file), tmp_path)
    assert page.startswith(f"**look of {small_scenario_file} succeeded**\n")


def test_the_report_tells_that_it_failed(small_scenario: Scenario, tmp_path: Path) -> None:
    assert reported(small_scenario, str(tmp_path / "gone.yaml"), tmp_path).startswith(
        f"**look of {tmp_path / 'gone.yaml'} failed"
    )


def test_on_this_machine_nothing_is_reported_or_tried_again(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"step 'fingerprint' failed[\s\S]*gone.yaml: cannot be read"):
        run_pipeline(look, {"scenario": str(tmp_path / "gone.yaml")}, tmp_path, Console(file=io.StringIO()))
    assert not list(tmp_path.glob("*/report"))


def test_defaults_name_the_scenario(small_scenario: Scenario) -> None:
    inputs = look.compiled_for(ClusterSettings("a.yaml", "mine", small_scenario.resources)).component_spec.inputs
    assert inputs["scenario"].default == "a.yaml"
    assert inputs["place"].default == "/mnt/mine/mine"
