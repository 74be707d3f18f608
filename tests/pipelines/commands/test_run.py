"""`polytask run`: pipelines on this machine, one after the other in one workspace, and what it refuses."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from components.add_task import add_task
from pipelines.all_pipelines import PIPELINES
from pipelines.commands.run import KINDS, run
from pipelines.endpoint.arguments import TYPES, ArgumentError, parse_parameters
from pipelines.local_runner.failure import PipelineError
from polytask.contract.contract import load_contract
from polytask.data.tables import Tables
from polytask.errors import DataError, ScenarioError
from polytask.registry.folder import FolderRegistry
from polytask.registry.version import ModelVersion
from polytask.scenario import Scenario
from polytask.scenario.load import read_task
from serving.rollout.publish import publish
from tests.small import training_frame

DATA = ["fingerprint", "ingest", "build-features", "build-training-set"]
TASK = "{name: liked, title: Will like it, kind: binary, label: {source: interaction, column: rating, at_least: 4}}"


def started(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(run)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return " ".join(result.output.split())


@pytest.fixture
def workspace(small_bundle: Path, small_checkpoint: Path, small_store: Path, tmp_path: Path) -> Path:
    """A workspace with a published version and a filled store."""
    publish(small_bundle, tmp_path / "small" / "published", small_checkpoint)
    shutil.copytree(small_store, tmp_path / "small" / "feature_store")
    return tmp_path


def test_new_items_a_new_task_and_recommendations_to_all(
    workspace: Path, small_scenario_file: Path, small_bundle: Path, tables: Tables, tmp_path: Path, steps_run_here: None
) -> None:
    where = ["--scenario", small_scenario_file, "--workspace", workspace]
    registry = FolderRegistry(workspace / "small" / "published")
    first = load_contract(small_bundle).model_version
    new = pd.DataFrame({"item_id": [5001], "title": ["A comedy"], "year": [1999], "genres": ["Comedy"]})
    old = tables.items.assign(genres=tables.items["genres"].map("|".join))
    pd.concat([new, old]).to_csv(tmp_path / "items.csv", index=False)
    output = started("refresh_catalogue", *where, "--param", f"items={tmp_path / 'items.csv'}")
    assert "1 items appended, 0 with another text, 0 gone" in output
    assert steps(output) == [*DATA, "refresh-items", "evaluate", "compare", "gate", "deploy", "smoke"]
    second = live(registry)
    assert second.lineage["parent_model"] == str(first)
    assert second.checkpoint is not None
    contract = load_contract(Path(second.bundle))
    assert contract.catalogues["items"].rows == 61
    summary = made(workspace, "compare", "summary").read_text(encoding="utf-8")
    assert f"Live model: {first}." in summary
    verdict = json.loads(made(workspace, "compare", "verdict").read_text(encoding="utf-8"))
    assert [(task["task"], task["refused"]) for task in verdict["tasks"]] == [("item", ""), ("user", ""), ("scene", "")]
    item = verdict["tasks"][0]
    assert item["value"] == pytest.approx(contract.metrics["item"]["ndcg@10"])
    assert item["live"]["allowed"] == pytest.approx(0.03 * item["live"]["live"])
    assert item["live"]["mean"] < 0
    assert item["live"]["alone"]["mean"] == 0
    assert made(workspace, "evaluate", "report").stat().st_size > 10_000

    # Two epochs on so few events do not predict what will be liked: the task has to pass its gate first.
    with pytest.raises(PipelineError, match=r"step 'gate' failed .*: refused: liked auc .* falls below its gate"):
        started("add_task", *where, "--param", f"task={TASK}")
    assert live(registry).version == second.version
    output = started("add_task", *where, "--param", f"task={TASK.replace('kind', 'baseline_gate: none, kind')}")
    assert steps(output) == [*DATA, "add-task", "evaluate", "compare", "gate", "deploy", "smoke"]
    assert "has no liked to compare with" in output
    third = live(registry)
    assert third.lineage["parent_model"] == str(second.version)
    assert set(third.metrics) == {"item", "user", "scene", "liked"}
    assert "liked: 16 requests, values from" in (workspace / "small" / "pipeline" / "pipeline.log").read_text()

    file = tmp_path / "all.parquet"
    output = started("batch_recommend", *where, "--param", "k=2", "--param", f"output={file}")
    assert f"for 30 users, model {third.version}: {file}".replace(" ", "") in re.sub(r"\s", "", output)
    assert "the runner itself took" in output
    assert pq.read_metadata(file).num_rows == 210
    with pytest.raises(DataError, match="pipeline 'tarin' is not known; allowed: train_and_deploy, refresh_features"):
        started("tarin", *where)


def steps(output: str) -> list[str]:
    """The steps that ended, those from the cache among them."""
    return re.findall(r"\N{CHECK MARK} ([\w-]+): ", output)


def live(registry: FolderRegistry) -> ModelVersion:
    found = registry.live()
    assert found is not None
    return found


def made(workspace: Path, step: str, output: str) -> Path:
    """The output of a step of the one run that has it."""
    (found,) = (workspace / "small" / "pipeline").glob(f"*/{step}/{output}")
    return found


class Output:
    """An artefact of kfp, as a component sees it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.metadata: dict[str, object] = {}


def test_the_step_that_adds_a_task(
    workspace: Path, small_scenario: Scenario, small_scenario_file: Path, tables: Tables, tmp_path: Path
) -> None:
    rows = Output(tmp_path / "rows.parquet")
    training_frame(small_scenario, tables).to_parquet(rows.path)
    model, bundle = Output(tmp_path / "out" / "model"), Output(tmp_path / "out" / "bundle")
    named = {"scenario": str(small_scenario_file), "training_set": rows, "model": model, "bundle": bundle}
    add_task.python_func(task=TASK, registry_dir=str(workspace / "small" / "published"), **named)
    contract = load_contract(Path(bundle.path))
    assert [task.name for task in contract.scenario.tasks] == ["item", "user", "scene", "liked"]
    assert bundle.metadata["model_version"] == contract.model_version
    parent = live(FolderRegistry(workspace / "small" / "published"))
    assert model.metadata["lineage"]["parent_model"] == str(parent.version)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bundle", "model"]


def test_without_a_live_version_nothing_is_left(small_scenario_file: Path, tmp_path: Path) -> None:
    out = Output(tmp_path / "out" / "model")
    with pytest.raises(DataError, match="no version is live"):
        add_task.python_func(
            scenario=str(small_scenario_file),
            task=TASK,
            registry_dir=str(tmp_path / "published"),
            training_set=out,
            model=out,
            bundle=out,
        )
    assert not list(tmp_path.iterdir())


def test_a_task_may_be_given_as_text_or_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(TASK, encoding="utf-8")
    assert read_task(f" {file}\n") == read_task(TASK) == read_task(f"- {TASK}")
    with pytest.raises(ScenarioError, match="task: holds str, allowed: a mapping"):
        read_task("liked")
    with pytest.raises(ScenarioError, match="task: is not YAML"):
        read_task("a: [")


def parsed(pipeline: str, *given: str) -> dict[str, Any]:
    kinds = {name: KINDS[one.annotation] for name, one in PIPELINES[pipeline].parameters.items()}
    return parse_parameters(given, kinds)


def test_every_parameter_has_a_type_of_the_command_line() -> None:
    annotations = {one.annotation for pipeline in PIPELINES.values() for one in pipeline.parameters.values()}
    assert annotations <= set(KINDS) and set(KINDS.values()) <= set(TYPES)


def test_parameters_get_the_types_of_the_pipeline() -> None:
    assert parsed("batch_recommend", "k=5", "output=a=b") == {"k": 5, "output": "a=b"}
    assert parsed("train_and_deploy", "gpu=False") == {"gpu": False}
    assert parsed("refresh_features", "late_hours=1.5") == {"late_hours": 1.5}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("k=many", r"--param k: invalid value 'many'; expected a whole number"),
        ("kk=3", r"--param kk: unknown parameter; expected one of scenario, feature_store"),
        ("k", r"--param: 'k', allowed: name=value"),
        ("target=/mnt/models", r"--param target: this parameter was renamed; use registry_dir=/mnt/models"),
    ],
)
def test_wrong_parameters_are_named(words: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        parsed("batch_recommend", words)
