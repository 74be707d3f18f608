"""The commands that grow a model, one after the other, each on the version that the last one published."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from pipelines.commands.add_task import add_task
from pipelines.commands.fine_tune import fine_tune
from pipelines.commands.refresh_catalogue import refresh_catalogue
from pipelines.commands.update_base import update_context
from pipelines.local_runner.prepare import PreparedData
from polytask.contract.contract import load_contract
from polytask.data.request import RequestEncoder, RequestFeatures
from polytask.data.tables import write_tables
from polytask.errors import DataError, ScenarioError
from polytask.evaluation.gate import GateError
from polytask.export.parity import bundle_outputs
from polytask.model.cold_start import save_cold_start
from polytask.registry.folder import FolderRegistry
from polytask.registry.trained import Version
from polytask.storage.atomic import sha256_file
from polytask.text.templates import TextTokenizer
from polytask.updates.learn_cold_start import learn_cold_start
from serving.rollout.publish import publish
from tests.blunted import blunted
from tests.small import training_frame

TASK = """
- name: liked
  title: Will rate it 4 or more
  kind: binary
  baseline_gate: none
  label: {source: interaction, column: rating, at_least: 4}
"""


def run(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def workspace(small_checkpoint, small_bundle, small_training, small_dataset, tmp_path_factory) -> Path:
    """A workspace as the demo leaves it: a published version, and its model in the registry."""
    folder = tmp_path_factory.mktemp("workspace")
    model = folder / "small" / "pipeline" / "run" / "train" / "model"
    shutil.copytree(small_checkpoint, model)
    cold, _ = learn_cold_start(small_training[0], small_dataset, steps=5)
    cold.offset.fill_(50.0)  # above all others, were it not for the places that are theirs
    save_cold_start(cold, np.array([]), model)
    publish(small_bundle, folder / "small" / "published", model)
    return folder


@pytest.fixture(autouse=True)
def prepared_data(small_scenario, tables, tmp_path, monkeypatch) -> None:
    """The first steps of the pipeline in plain pandas; the last user is not there yet when the model is trained."""
    write_tables(tables, tmp_path / "tables")
    training_frame(small_scenario, tables).to_parquet(tmp_path / "training_set.parquet")
    data = PreparedData(tmp_path / "tables", tmp_path / "training_set.parquet")
    monkeypatch.setattr("pipelines.local_runner.prepare.prepared", lambda *_: data)


def current(workspace: Path) -> Path:
    return (workspace / "small" / "published" / "current").resolve()


def test_one_version_after_the_other(small_scenario_file, workspace, tables, tmp_path, small_bundle):
    options = ["--scenario", small_scenario_file, "--workspace", workspace]
    task = tmp_path / "liked.yaml"
    task.write_text(TASK, encoding="utf-8")
    first = load_contract(current(workspace))

    output = run(add_task, "--task", task, *options)
    assert passed(output) == {"item": "level", "user": "level", "scene": "level"}
    assert "live model" in output
    assert "has no liked to compare with" in output
    assert "equal in every bit: item_ids, item_scores, user_ids, user_scores, scene_scores" in output
    second = load_contract(current(workspace))
    assert f"version {second.model_version} in" in output
    assert [task.name for task in second.scenario.tasks] == ["item", "user", "scene", "liked"]
    assert second.metrics.items() > first.metrics.items()
    assert second.metrics["liked"]
    with pytest.raises(ScenarioError, match="task 'liked' is there already"):
        run(add_task, "--task", task, *options)

    new = pd.DataFrame({"item_id": [5001], "title": ["A comedy"], "year": [1999], "genres": ["Comedy"]})
    old = tables.items.assign(genres=tables.items["genres"].map("|".join))
    pd.concat([new, old]).to_csv(tmp_path / "items.csv", index=False)
    output = run(refresh_catalogue, "--items", tmp_path / "items.csv", *options)
    assert "equal in every bit: user_ids, user_scores, scene_scores, liked_scores" in output
    assert "1 items appended" in output
    assert passed(output)["scene"] == passed(output)["liked"] == "level"
    assert re.search(r"item ndcg@10 .*; new items may cost 0\.00\d\d; without them level: \+0\.0000, \+0\.0000", output)
    third = load_contract(current(workspace))
    assert third.new_items == (61,)
    # Measured as it is served: with the new item, which the others pay for, and below the first of them.
    assert f"item ndcg@10 {third.metrics['item']['ndcg@10']:.4f}, popularity" in output
    assert third.checksum != second.checksum
    places = answered(current(workspace), tables)
    assert places.index(5001) == 5  # below the first others
    assert set(places) <= {5001, *tables.items["item_id"][:12]}
    with pytest.raises(DataError, match="there is nothing to refresh"):
        run(refresh_catalogue, "--items", tmp_path / "items.csv", *options)

    # An epoch on so few events makes lists worse rather than better.
    output = run(fine_tune, "--epochs", 1, "--no-gate", *options)
    assert "appended: 0 users, 0 items" in output
    assert "gate:" not in output
    last = load_contract(current(workspace))
    assert last.catalogues["items"].rows == 61
    assert last.new_items == (61,)  # no event has seen it
    assert set(last.metrics) == {"item", "user", "scene", "liked"}
    versions = {first.model_version, second.model_version, last.model_version}
    assert len(versions) == 3
    registry = FolderRegistry(workspace / "small" / "published")
    demo, *kept = [version for version in registry.versions() if version.checkpoint is not None]
    assert demo.version == first.model_version
    assert len(kept) == 3
    assert registry.live() == kept[-1]
    assert kept[0].lineage["parent_model"] == str(first.model_version)
    assert kept[0].lineage["data_sha256"] == sha256_file(tmp_path / "training_set.parquet")
    assert kept[1].lineage["data_sha256"] == third.catalogues["items"].sha256
    assert sorted(path.name for path in (workspace / "small").iterdir()) == ["pipeline", "published"]


def passed(output: str) -> dict[str, str]:
    """How each task compares with the live model, from the line of the gate."""
    line = output[output.index("gate: passed [") :].split("]")[0]
    return dict(re.findall(r"(\w+) \w+(?:@\d+)? 0\.\d{4}(?:, \w+ 0\.\d{4})?, live 0\.\d{4} \((\w+):", line))


def answered(bundle: Path, tables) -> list[object]:
    """The items that the served graph lists for a user who has seen all old ones but the first twelve."""
    contract = load_contract(bundle)
    catalogues = Version(bundle, bundle).catalogues()
    request = RequestFeatures(history=[5001, 7], seen=list(tables.items["item_id"])[-48:])
    tokenizer = TextTokenizer(bundle / contract.tokenizer.path, contract.max_tokens)
    encoder = RequestEncoder(contract.scenario, catalogues)
    rows = bundle_outputs(bundle, contract, tokenizer, encoder, [request])["item_ids"][0]
    return [catalogues["items"].external(int(row)) for row in rows if row]


def test_what_is_worse_is_not_published(
    small_scenario_file, small_checkpoint, small_bundle, ruled_bundle, language_model, tmp_path, monkeypatch
):
    """The new model ranks by noise; it is compared with the live one, or else with its base model."""
    published = tmp_path / "small" / "published"
    publish(small_bundle, published, small_checkpoint)

    def fine_tuned(previous, tables, training_set, target, *rest):
        blunted(small_checkpoint, language_model.sha256, target / "model")
        shutil.copytree(previous.bundle, target / "bundle")

    monkeypatch.setattr("polytask.jobs.updates.fine_tune_job", fine_tuned)
    options = ["--scenario", small_scenario_file, "--workspace", tmp_path]
    before = published.joinpath("current").readlink()
    with pytest.raises(
        GateError, match=r"^refused: item ndcg@10 .* falls below .* is worse than the live model's 0\.2907"
    ):
        run(fine_tune, *options)
    assert published.joinpath("current").readlink() == before
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == ["published"]
    given = ["--checkpoint", small_checkpoint, "--bundle", small_bundle]
    publish(ruled_bundle, published)
    with pytest.raises(GateError, match="live model 77 was published without its checkpoint"):
        run(fine_tune, *options, *given)
    shutil.rmtree(published)
    with pytest.raises(GateError, match=r"is worse than the live model's 0\.2907"):
        run(fine_tune, *options, *given)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("kind: binary", "name: missing"),
        ("[a, b]", "holds list, allowed: a mapping that starts with `name:`"),
        ("a: [", "is not YAML"),
        (TASK.replace("binary", "guess"), "kind: invalid value 'guess'; expected 'binary'"),
        (
            TASK.replace("rating", "stars").replace("liked", "other"),
            "task 'other' does not fit scenario 'small': .*'stars' is not a known column",
        ),
    ],
)
def test_a_task_that_is_wrong(small_scenario_file, workspace, tmp_path, content, words):
    task = tmp_path / "task.yaml"
    task.write_text(content, encoding="utf-8")
    with pytest.raises(ScenarioError, match=words):
        run(add_task, "--task", task, "--scenario", small_scenario_file, "--workspace", workspace)


def test_no_version_to_start_from(small_scenario_file, small_checkpoint, small_bundle, tmp_path):
    with pytest.raises(DataError, match="no last version"):
        update_context(str(small_scenario_file), tmp_path, None, None)
    with pytest.raises(DataError, match=r"--checkpoint: .* has no model.safetensors"):
        update_context(str(small_scenario_file), tmp_path, tmp_path, small_bundle)
    # A model of another run in the workspace is not taken for that of the bundle.
    shutil.copytree(small_checkpoint, tmp_path / "small" / "pipeline" / "run" / "train" / "model")
    with pytest.raises(DataError, match=r"--checkpoint: is not given, and .*checkpoints/\d+ is missing; allowed: the"):
        update_context(str(small_scenario_file), tmp_path, None, small_bundle)
    assert (
        update_context(str(small_scenario_file), tmp_path, small_checkpoint, small_bundle).previous.bundle
        == small_bundle
    )


def test_a_scenario_that_has_changed(small_scenario_file, workspace, tmp_path):
    changed = tmp_path / "small.yaml"
    changed.write_text(small_scenario_file.read_text().replace("dim: 16", "dim: 24"), encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"model differs from what version .* trained with.*'dim': 24.*'dim': 16"):
        update_context(str(changed), workspace, None, None)
