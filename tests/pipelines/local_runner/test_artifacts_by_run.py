"""The results and artifacts of a run depend only on its own inputs: A runs, then B, then A again in one workspace."""

import io
import json
from pathlib import Path
from typing import NamedTuple

import pytest
from kfp import dsl
from rich.console import Console

from components.image import IMAGE
from pipelines.local_runner.local import Run, run_pipeline
from pipelines.local_runner.workspace import claimed
from pipelines.steps.data_steps import data_steps
from pipelines.steps.definition import pipeline, step
from pipelines.train_and_deploy import train_and_deploy
from polytask.errors import DataError
from polytask.scenario import load_scenario
from serving.transformer.features.reader import FeatureReader
from tests.small import write_small_scenario

AGE = "33"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def published(training_set: dsl.Input[dsl.Dataset], target: str) -> str:
    """A step that is never cached, as `deploy` is."""
    return f"{target}/version"


class Outputs(NamedTuple):
    """Artifacts of cached steps and the value of one that always runs."""

    tables: dsl.Dataset
    training_set: dsl.Dataset
    published: str


@pipeline(name="up-to-the-training-set", title="Up to the training set", description="As all pipelines begin.")
def up_to_the_training_set(scenario: str, feature_store: str, code_version: str, target: str) -> Outputs:
    data = data_steps(scenario, code_version, feature_store)
    rows = data.rows.outputs["training_set"]
    deployed = step(published(training_set=rows, target=target), "Publish", "light", cached=False)
    return Outputs(data.tables.outputs["tables"], rows, deployed.output)


class Workspace:
    """A scenario over small tables, whose first user's age may be changed, and the folders of its runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir()
        self.scenario = write_small_scenario(folder / "data")
        self.users = folder / "data" / "users.csv"
        self.first = self.users.read_text(encoding="utf-8")
        header, row, rest = self.first.split("\n", 2)
        user, age, occupation = row.split(",")
        assert (header, user) == ("user_id,age,occupation", "10")
        assert age != AGE
        self.age = int(age)
        self.other = "\n".join([header, f"{user},{AGE},{occupation}", rest])

    def run(self, users: str) -> Run:
        self.users.write_text(users, encoding="utf-8")
        arguments = {
            "scenario": str(self.scenario),
            "feature_store": str(self.folder / "store"),
            "code_version": "test",
            "target": str(self.folder / "published"),
        }
        return run_pipeline(up_to_the_training_set, arguments, self.folder / "pipeline", Console(file=io.StringIO()))

    def online_age(self) -> object:
        reader = FeatureReader(self.folder / "store", load_scenario(self.scenario))
        return reader.read([10], [1_713_000_000])[0].profile["age"]


@pytest.mark.timeout(300)
def test_data_changed_and_changed_back(tmp_path: Path, steps_run_here: None) -> None:
    workspace = Workspace(tmp_path)
    first = workspace.run(workspace.first)
    assert workspace.online_age() == workspace.age
    second = workspace.run(workspace.other)
    assert workspace.online_age() == int(AGE)
    assert second.outputs["training_set"] != first.outputs["training_set"]

    third = workspace.run(workspace.first)
    # The outputs of the first run, by the cache, and the features of its tables.
    assert third.reused == ["ingest", "build-training-set"]
    assert third.outputs == first.outputs
    assert third.outputs["published"] == tmp_path / "published" / "version"
    assert workspace.online_age() == workspace.age

    # Nothing has changed: the store is left as it is.
    marker = tmp_path / "store" / "filled.json"
    before = marker.stat().st_mtime_ns
    assert workspace.run(workspace.first).outputs == first.outputs
    assert marker.stat().st_mtime_ns == before


def test_the_whole_chain_returns_its_own_outputs() -> None:
    returned = train_and_deploy._local.pipeline_spec.root.output_definitions
    assert set(returned.artifacts) == {"tables", "training_set", "model", "evaluation", "report"}
    assert set(returned.parameters) == {"published"}


def scenario_file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_another_scenario_file_of_one_name_is_refused(tmp_path: Path) -> None:
    output = io.StringIO()
    console = Console(file=output)
    mine = scenario_file(tmp_path / "mine.yaml", "name: small\n")
    places = claimed(tmp_path / "ws", mine, "small", console)
    mine.write_text("name: small\nseed: 8\n", encoding="utf-8")
    claimed(tmp_path / "ws", mine, "small", console)  # the same file may change
    assert output.getvalue() == ""

    other = scenario_file(tmp_path / "other.yaml", "name: small\nseed: 9\n")
    message = rf"belongs to the scenario file {mine}; {other} is another one of the same name, 'small'\. Give .*delete"
    with pytest.raises(DataError, match=message):
        claimed(tmp_path / "ws", other, "small", console)
    claimed(tmp_path / "ws", other, "other", console)
    claimed(tmp_path / "another", other, "small", console)
    claimed(tmp_path / "ws", mine, "small", console)

    # An equal copy is the same scenario, and so is the file under its next name.
    copy = scenario_file(tmp_path / "copy.yaml", mine.read_text(encoding="utf-8"))
    claimed(tmp_path / "ws", copy, "small", console)
    moved = copy.rename(tmp_path / "moved.yaml")
    claimed(tmp_path / "ws", moved, "small", console)
    assert places.owner.read_text(encoding="utf-8") == f"{moved}\n"
    assert output.getvalue().splitlines() == [
        f"{places.folder}: belonged to {mine}, now to {copy}",
        f"{places.folder}: belonged to {copy}, now to {moved}",
    ]


def test_the_summary_of_the_demo_is_of_the_run_that_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 7, seed 8, seed 7 again: the third run takes the first one's steps from the cache."""
    from pipelines.commands import demo as module

    (tmp_path / "data").mkdir()
    file = write_small_scenario(tmp_path / "data")
    pipeline_root = tmp_path / "ws" / "small" / "pipeline"
    made: dict[int, Run] = {}
    for seed in (7, 8):
        folder = pipeline_root / f"train-and-deploy-{seed}"
        outputs = {
            "tables": folder / "ingest" / "tables",
            "training_set": folder / "build-training-set" / "training_set",
            "model": folder / "train" / "model",
            "evaluation": folder / "evaluate" / "evaluation",
            "report": folder / "evaluate" / "report",
            "published": tmp_path / "ws" / "small" / "published" / str(seed),
        }
        for path in outputs.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        metrics = {task: {"ndcg@10": seed / 100} for task in ("item", "user", "scene")}
        content = {"test": {"metrics": metrics, "baselines": {task: {} for task in metrics}}}
        outputs["evaluation"].write_text(json.dumps(content), encoding="utf-8")
        made[seed] = Run(log=tmp_path / "log", outputs=outputs)
    requested: list[Path] = []
    monkeypatch.setattr(module, "_send_request", lambda scenario, bundle, *_: requested.append(bundle) or [])
    monkeypatch.setattr(module, "_version_of", lambda bundle: int(bundle.name))
    for seed in (7, 8, 7):
        monkeypatch.setattr(module, "run_pipeline", lambda *_, seed=seed: made[seed])
        module.demo(scenario=str(file), workspace=tmp_path / "ws")
        summary = json.loads((tmp_path / "ws" / "small" / "summary.json").read_text(encoding="utf-8"))
        assert summary["metrics"]["item"] == {"ndcg@10": seed / 100}
        assert summary["model_version"] == seed
        assert requested[-1] == made[seed].outputs["published"]
        for name in ("tables", "training_set", "model", "evaluation", "report"):
            assert summary["artifacts"][name] == str(made[seed].outputs[name])
