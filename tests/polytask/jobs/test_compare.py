"""A candidate compared with a live model, with real models: the same, a worse one, and one with another row order."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from polytask.contract.contract import load_contract
from polytask.data.catalogue import Catalogue
from polytask.data.evaluation_requests import split_requests
from polytask.evaluation.previous import previous_method
from polytask.jobs.compare import compare_with_live
from polytask.jobs.evaluate import evaluate_model
from polytask.model.cold_start import ColdStart, save_cold_start
from polytask.registry.folder import FolderRegistry
from polytask.registry.trained import Version
from polytask.registry.version import ModelVersion
from polytask.storage.atomic import sha256_file
from polytask.training.checkpoint import save_checkpoint
from polytask.updates.rows import with_rows
from serving.rollout.publish import publish
from tests.blunted import blunted
from tests.small import training_frame


@pytest.fixture(scope="module")
def data(small_scenario, tables, ingested, small_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    training_frame(small_scenario, tables).to_parquet(folder / "training_set.parquet")
    evaluation = folder / "evaluation.json"
    evaluate_model(small_scenario, ingested, folder / "training_set.parquet", small_checkpoint, evaluation)
    return ingested, folder / "training_set.parquet", evaluation


@pytest.fixture
def live(small_bundle, small_checkpoint, tmp_path) -> ModelVersion:
    publish(small_bundle, tmp_path / "published", small_checkpoint)
    found = FolderRegistry(tmp_path / "published").live()
    assert found is not None
    return found


def lenient(scenario):
    tasks = tuple(task.model_copy(update={"baseline_gate": "none"}) for task in scenario.tasks)
    return scenario.model_copy(update={"tasks": tasks})


def test_without_a_live_model_and_with_the_same_one(small_scenario, data, small_checkpoint, live, tmp_path):
    tables, rows, evaluation = data
    first = compare_with_live(
        small_scenario, tables, rows, small_checkpoint, evaluation, None, tmp_path / "verdict.json"
    )
    assert "this is the first deployment" in first.line()
    assert json.loads((tmp_path / "verdict.json").read_text(encoding="utf-8"))["line"] == first.line()
    same = compare_with_live(
        small_scenario, tables, rows, small_checkpoint, evaluation, live, tmp_path / "verdict.json"
    )
    assert f"the candidate has the weights of live model {live.version}" in same.line()
    bare = live.model_copy(update={"checkpoint": None})
    without = compare_with_live(
        small_scenario, tables, rows, small_checkpoint, evaluation, bare, tmp_path / "verdict.json"
    )
    assert "without its checkpoint" in without.line()
    away = live.model_copy(update={"bundle": "s3://models/small/1"})
    elsewhere = compare_with_live(
        small_scenario,
        tables,
        rows,
        small_checkpoint,
        evaluation,
        away,
        tmp_path / "verdict.json",
        live_note="the service serves 1, but version 2 is live in the registry",
    )
    assert "version 2 is live in the registry; live model" in elsewhere.line()
    assert "is stored in s3://models/small/1, which is not on this machine" in elsewhere.line()


def test_a_worse_candidate_is_refused(
    small_scenario, data, small_checkpoint, live, language_model, tmp_path, monkeypatch
):
    tables, rows, _ = data
    candidate = blunted(small_checkpoint, language_model.sha256, tmp_path / "candidate")
    scenario, evaluation = lenient(small_scenario), tmp_path / "evaluation.json"
    measured = evaluate_model(scenario, tables, rows, candidate, evaluation)["test"]["metrics"]
    verdict = compare_with_live(scenario, tables, rows, candidate, evaluation, live, tmp_path / "verdict.json")
    assert not verdict.passed
    assert verdict.live == live.version
    item = verdict.tasks[0]
    assert item.live is not None
    assert item.live.verdict == "worse"
    assert item.live.live + item.live.mean == pytest.approx(measured["item"]["ndcg@10"])
    # The other way round, the same two are no reason to refuse, nor is a live bundle of an older format.
    contract = Path(live.bundle) / "contract.json"
    contract.write_text(json.dumps({**json.loads(contract.read_text()), "format": 1}))
    shutil.rmtree(live.checkpoint)
    shutil.copytree(candidate, live.checkpoint)
    evaluation = data[2]
    requested = []

    def without_scenes(kept, dataset, language_model, catalogues):
        method = previous_method(kept, dataset, language_model, catalogues)
        requested.append(catalogues)
        return lambda requests: {name: s for name, s in method(requests).items() if name != "scene"}

    monkeypatch.setattr("polytask.jobs.compare.previous_method", without_scenes)
    other = compare_with_live(scenario, tables, rows, small_checkpoint, evaluation, live, tmp_path / "verdict.json")
    assert other.passed
    assert other.tasks[0].live.verdict == "better"
    # It is scored by the rows of its own bundle; the note names the tasks that it does not have.
    assert [(name, len(found)) for found in requested for name, found in sorted(found.items())] == [
        ("items", 60),
        ("users", 30),
    ]
    assert other.tasks[2].live is None
    assert other.note == f"live model {live.version} has no scene to compare with"


def test_an_earlier_model_whose_rows_stand_elsewhere(small_dataset, small_checkpoint, language_model):
    """It is called by external ids: with its catalogues reversed, its scores of the same rows are reversed too."""
    requests = split_requests(small_dataset, "test")
    straight = previous_method(small_checkpoint, small_dataset, language_model)(requests)
    turned = {
        name: Catalogue(name, catalogue.key, catalogue.table.iloc[::-1])
        for name, catalogue in small_dataset.catalogues.items()
    }
    history = np.where(requests.history > 0, 61 - requests.history, 0)
    mirrored = type(requests)(small_dataset, requests.events, history, requests.seen)
    scores = previous_method(small_checkpoint, small_dataset, language_model, turned)(mirrored)
    np.testing.assert_allclose(scores["item"][:, 1:], straight["item"][:, :0:-1], rtol=1e-5)
    fewer = {**turned, "items": Catalogue("items", "item_id", small_dataset.catalogues["items"].table.iloc[:20])}
    scores = previous_method(small_checkpoint, small_dataset, language_model, fewer)(requests)
    assert np.isneginf(scores["item"][:, 21:]).all()
    assert np.isfinite(scores["item"][:, 1:21]).all()


@pytest.fixture
def with_a_comedy(small_bundle, small_checkpoint, small_training, language_model, tmp_path) -> Version:
    """The live model with one more item, as a refresh leaves it, but for the served graph."""
    made = Version(tmp_path / "made" / "model", tmp_path / "made" / "bundle")
    shutil.copytree(small_bundle, made.bundle)
    contract = load_contract(made.bundle)
    items, spec = made.catalogues()["items"], contract.catalogues["items"]
    comedy = {"item_id": 5001, "title": "A comedy", "year": 1999, "genres": ["Comedy"]}
    longer = Catalogue("items", "item_id", pd.concat([items.table, pd.DataFrame([comedy])], ignore_index=True))
    longer.save(made.bundle / spec.path)
    spec = spec.model_copy(update={"rows": 61, "sha256": sha256_file(made.bundle / spec.path)})
    contract.model_copy(update={"catalogues": {**contract.catalogues, "items": spec}}).save(made.bundle)
    vectors = torch.from_numpy(language_model.vectors(["A comedy (1999), Comedy"])[0])
    model = with_rows(small_training[0], vectors)
    model.heads["item"].bias.data[-1] = 50.0  # above all others, wherever it may stand
    save_checkpoint(model, [], language_model.sha256, made.checkpoint)
    return made


def test_new_items_are_told_from_the_model_that_lists_them(
    small_scenario, data, live, language_model, with_a_comedy, tmp_path
):
    tables, rows, evaluation = data
    made = with_a_comedy

    def item(training_set):
        verdict = compare_with_live(
            lenient(small_scenario),
            tables,
            training_set,
            made.checkpoint,
            evaluation,
            live,
            tmp_path / "verdict.json",
            bundle=made.bundle,
        )
        return verdict.tasks[0]

    first = item(rows)  # in the first place, where serving would list it: it has not been calibrated
    assert first.baseline is None  # the scenario's file has dropped the gate that the bundle still has
    assert first.live.allowed == pytest.approx(0.03 * first.live.live)
    assert (first.live.alone.verdict, first.live.alone.mean) == ("level", 0.0)
    save_cold_start(ColdStart(language_model.dim, 16), np.array([61]), made.checkpoint)
    sixth = item(rows)
    assert first.live.mean < sixth.live.mean < 0
    assert first.live.is_worse
    assert "more than the 0.0087 that new items may cost" in first.refused

    # Training events may contain it by now; what the model was not trained on stays new to it.
    frame = pd.read_parquet(rows)
    frame.loc[frame.groupby("user_id").head(1).index[:3], "item_id"] = 5001
    frame.to_parquet(tmp_path / "newer.parquet")
    assert item(tmp_path / "newer.parquet").live.alone is not None
    save_cold_start(ColdStart(language_model.dim, 16), np.array([]), made.checkpoint)
    trained = item(tmp_path / "newer.parquet")
    assert trained.live.alone is None
    assert trained.live.allowed == 0
