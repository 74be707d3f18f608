"""A scenario without items and history, from the data set to the exported graphs."""

import numpy as np
import onnxruntime as ort
import pytest
import torch

from polytask.contract.contract import MULTITASK, REPOSITORY_FOLDER, load_contract
from polytask.data.catalogue import catalogues_of
from polytask.data.dataset import Dataset
from polytask.evaluation.evaluate import evaluate
from polytask.training.loop import build_model
from serving.triton.repository import write_repository
from tests.text_only import text_only_training_frame


@pytest.fixture(scope="module")
def catalogues(text_only_scenario, notes):
    return catalogues_of(text_only_scenario, notes)


@pytest.fixture(scope="module")
def language_model(text_only_scenario, tmp_path_factory):
    from polytask.text.language_model import LanguageModel

    return LanguageModel(text_only_scenario, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def dataset(text_only_scenario, notes, catalogues, language_model):
    frame = text_only_training_frame(text_only_scenario, notes)
    return Dataset(text_only_scenario, frame, catalogues, lambda texts: language_model.vectors(texts)[0])


@pytest.fixture(scope="module")
def training(dataset):
    from polytask.training.loop import train

    return train(dataset, None)


@pytest.fixture(scope="module")
def checkpoint(training, language_model, tmp_path_factory):
    from polytask.training.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    save_checkpoint(*training, language_model.sha256, folder)
    return folder


@pytest.fixture(scope="module")
def exported(checkpoint, dataset, tmp_path_factory):
    from polytask.data.request import RequestFeatures
    from polytask.export.bundle import export_bundle

    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    requests = [*dataset.requests(np.arange(20)), RequestFeatures(query="the drummer is wonderful"), RequestFeatures()]
    export = export_bundle(
        checkpoint,
        dataset.scenario,
        dataset.catalogues,
        requests,
        {},
        folder,
        lambda contract, place: write_repository(contract, place / REPOSITORY_FOLDER),
    )
    return folder, export


def test_rows_without_a_label_are_masked(dataset, notes):
    events = notes.interactions.set_index("event_id").loc[dataset.events["event_id"]]
    for task in ("topic", "liked", "stars"):
        labels = dataset.labels[task]
        assert labels.mask.tolist() == events[task].notna().tolist()
        assert not labels.mask.all()
    chosen = np.flatnonzero(dataset.labels["topic"].mask)
    named = np.array(dataset.scenario.task("topic").classes)[
        dataset.labels["topic"].of(chosen, dataset.item_rows).astype(int)
    ]
    assert named.tolist() == events["topic"].iloc[chosen].tolist()


def test_a_masked_row_moves_no_weight(dataset):
    from polytask.training.task_losses import TaskLosses

    torch.manual_seed(0)
    events = np.flatnonzero(dataset.train)[:40]
    mask = dataset.labels["stars"].mask[events]
    assert 0 < mask.sum() < len(events)
    logits = torch.zeros(len(events), 1, requires_grad=True)
    TaskLosses(dataset).task_loss(dataset.scenario.task("stars"), logits, events).backward()
    assert (logits.grad[:, 0] != 0).tolist() == mask.tolist()


def test_text_says_all_there_is(dataset):
    request = dataset.requests(np.array([1]))[0]
    assert (request.history, request.seen) == ((), ())
    assert dataset.request_encoder().rows([request]) == {}
    row = dataset.events.iloc[1]
    assert dataset.request_encoder().text(request) == f"{row['age']} years old, {row['title']}, {row['note']}"
    untitled = dataset.requests(np.array([0]))[0]
    assert dataset.request_encoder().text(untitled).count(",") >= 1
    assert "None" not in dataset.request_encoder().text(untitled)


def test_no_weight_is_for_items_or_users(training):
    names = {name.split(".")[0] for name in training[0].state_dict()}
    assert names == {"text", "state_norm", "fusion", "heads"}


def test_regression_starts_at_the_mean_of_the_labels(dataset):
    torch.manual_seed(0)
    model = build_model(dataset, None).eval()
    mean, spread = dataset.label_scale("stars")
    assert 2 < mean < 4
    assert 1 < spread < 2
    values = model.score(None, torch.from_numpy(dataset.text_vectors))["stars"]
    assert abs(float(values.mean()) - mean) < spread / 2


def test_a_number_stays_within_its_columns_bounds(text_only_scenario, dataset):
    assert text_only_scenario.label_bounds(text_only_scenario.task("stars")) == (1.0, 5.0)
    torch.manual_seed(0)
    model = build_model(dataset, None)
    model.heads["stars"].start_at(4.9, 2.0)
    values = model.score(None, 5 * torch.randn(200, dataset.text_vectors.shape[1]))["stars"]
    assert float(values.max()) == 5.0
    assert float(values.min()) < 5.0
    with torch.no_grad():
        assert (
            float(model.train().heads["stars"](5 * torch.randn(200, model.heads["stars"].linear.in_features)).max()) > 5
        )


def test_it_learns_every_task(training, dataset):
    model, history = training
    for task in ("topic", "liked", "stars"):
        assert history[-1].losses[task] < 0.8 * history[0].losses[task]
    scores = model.score(None, torch.from_numpy(dataset.text_vectors[dataset.texts]))
    test = np.flatnonzero(dataset.split == "test")
    known = test[dataset.labels["topic"].mask[test]]
    right = scores["topic"].numpy()[known].argmax(axis=1) == dataset.labels["topic"].values[known]
    assert right.mean() > 0.9  # the topics' words do not overlap
    assert evaluate(model, dataset, "test").requests == len(test)


def test_the_report_and_the_charts_of_its_answers(training, checkpoint, language_model, dataset):
    from polytask.data.evaluation_requests import split_requests
    from polytask.evaluation.candidate import candidate_results
    from polytask.evaluation.evaluate import evaluate_splits
    from polytask.evaluation.report import render_report
    from polytask.evaluation.tuning import tuned_baselines

    tuned = tuned_baselines(dataset, split_requests(dataset, "validation"))
    found = evaluate_splits(training[0], dataset, ("test",), tuned)["test"]
    labelled = {
        task: int(split_requests(dataset, "test").labelled(dataset.scenario.task(task)).sum())
        for task in ("topic", "liked")
    }
    charts = found.classification
    assert {task: int(np.sum(charts[task].confusion)) for task in labelled} == labelled
    assert charts["topic"].categories == ["Garden", "Music", "Kitchen"]
    right = {task: np.trace(charts[task].confusion) / labelled[task] for task in labelled}
    assert right == pytest.approx({task: found.metrics[task]["accuracy"] for task in labelled})
    assert charts["stars"].roc.fpr == []
    results = candidate_results(training[0], checkpoint, dataset, language_model, tuned, resamples=20)
    assert "Calibration: Liked" in render_report(results)


def test_reloaded_model_answers_the_same(training, checkpoint, language_model, dataset):
    from polytask.training.checkpoint import load_checkpoint

    again = load_checkpoint(checkpoint, language_model.sha256)
    text = torch.from_numpy(dataset.text_vectors[:8])
    for name, value in training[0].score(None, text).items():
        assert torch.equal(again.score(None, text)[name], value)
    assert float(again.heads["stars"].mean) == pytest.approx(dataset.label_scale("stars")[0])


def test_contract_names_the_text_alone(exported):
    folder, export = exported
    contract = load_contract(folder)
    assert [spec.name for spec in contract.multitask_inputs] == ["text_vector"]
    assert [spec.name for spec in contract.outputs] == ["topic_scores", "liked_scores", "stars_values", "encoded_text"]
    assert set(contract.catalogues) == {"users"}
    assert set(export.parity) == {"topic_scores", "liked_scores", "stars_values", "encoded_text"}


def test_graph_and_repository_take_the_text_alone(exported):
    folder, export = exported
    session = ort.InferenceSession(str(folder / export.contract.models[MULTITASK].path))
    assert [tensor.name for tensor in session.get_inputs()] == ["text_vector"]
    vectors = np.zeros((5, export.contract.text_dim), dtype=np.float32)
    topic, liked, stars, _ = session.run(None, {"text_vector": vectors})
    assert topic.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert (topic.shape, liked.shape, stars.shape) == ((5, 3), (5, 1), (5, 1))
    ensemble = (folder / REPOSITORY_FOLDER / "recommender" / "config.pbtxt").read_text()
    assert "history" not in ensemble
    assert "seen" not in ensemble
    assert 'name: "input_ids"' in ensemble


def test_a_task_can_be_added(training, dataset, notes, catalogues, language_model):
    from polytask.scenario.schema import Task
    from polytask.updates.add_task import add_task, scenario_with

    label = {"source": "interaction", "column": "stars"}
    task = Task.model_validate({"name": "again", "title": "Stars again", "kind": "regression", "label": label})
    scenario = scenario_with(dataset.scenario, task)
    updated_dataset = Dataset(
        scenario,
        text_only_training_frame(scenario, notes),
        catalogues,
        lambda texts: language_model.vectors(texts)[0],
    )
    updated, history = add_task(training[0], updated_dataset)
    text = torch.from_numpy(dataset.text_vectors[:8])
    answers, before = updated.score(None, text), training[0].score(None, text)
    assert all(torch.equal(answers[name], values) for name, values in before.items())
    assert history[-1].losses["again"] < history[0].losses["again"]
    assert float(updated.heads["again"].mean) == pytest.approx(dataset.label_scale("stars")[0])
