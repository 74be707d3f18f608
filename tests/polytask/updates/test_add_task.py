"""A task added to a trained model: the task learns, and the outputs of the existing tasks stay bit-identical."""

import numpy as np
import pytest
import torch

from polytask.contract.contract import TEXT_ENCODER
from polytask.contract.tensors import HISTORY
from polytask.data.dataset import Dataset
from polytask.errors import ContractError, DataError, ScenarioError
from polytask.evaluation.evaluate import model_scores
from polytask.export.parity import bundle_outputs
from polytask.registry.trained import Version
from polytask.scenario.schema import Task
from polytask.training.checkpoint import save_checkpoint
from polytask.updates.add_task import add_task, scenario_with, weights_sha256
from polytask.updates.next_version import check_same_responses, export_next
from tests.small import training_frame

LIKED = Task.model_validate(
    {
        "name": "liked",
        "title": "Will rate it 4 or more",
        "kind": "binary",
        "label": {"source": "interaction", "column": "rating", "at_least": 4},
    }
)
SHELF = Task.model_validate(
    {
        "name": "category",
        "title": "Category again",
        "kind": "multilabel",
        "classes": ["Comedy", "Drama", "Horror", "Western"],
        "label": {"source": "item", "column": "genres"},
    }
)
AGAIN = Task.model_validate(
    {
        "name": "again",
        "title": "Next again",
        "kind": "retrieval",
        "catalogue": "items",
        "top_k": 5,
        "label": {"source": "interaction", "column": "item_id"},
    }
)


def dataset_of(scenario, tables, small_dataset, language_model):
    vectors = small_dataset.text_vectors
    return Dataset(
        scenario,
        training_frame(scenario, tables),
        small_dataset.catalogues,
        lambda texts: vectors if len(texts) == len(vectors) else language_model.vectors(texts)[0],
    )


def scores_of(model, dataset):
    events = np.flatnonzero(dataset.split == "test")
    history = dataset.request_encoder().rows(dataset.requests(events))[HISTORY]
    return model_scores(model, dataset, events, history)


@pytest.fixture(scope="module", params=[LIKED, SHELF, AGAIN], ids=lambda task: task.kind)
def added(request, small_training, small_dataset, tables, language_model):
    scenario = scenario_with(small_dataset.scenario, request.param)
    dataset = dataset_of(scenario, tables, small_dataset, language_model)
    before = weights_sha256(small_training[0])
    model, history = add_task(small_training[0], dataset, epochs=20)
    assert weights_sha256(small_training[0]) == before
    return model, history, dataset


def test_old_weights_and_old_answers_keep_every_bit(added, small_training, small_dataset):
    old, (updated, _, dataset) = small_training[0], added
    names = list(old.state_dict())
    assert weights_sha256(updated, names) == weights_sha256(old)
    new = [name for name in updated.state_dict() if name not in names]
    task = dataset.scenario.tasks[-1].name
    assert new
    assert all(name.startswith((f"added_towers.{task}.", f"heads.{task}.")) for name in new)
    before, after = scores_of(old, small_dataset), scores_of(updated, dataset)
    assert list(after) == [*before, task]
    for name, scores in before.items():
        np.testing.assert_array_equal(after[name], scores)


def test_the_new_task_learns(added):
    _, history, dataset = added
    task = dataset.scenario.tasks[-1]
    labels = dataset.labels[task.name]
    events = np.flatnonzero(dataset.train & labels.mask)
    label = torch.from_numpy(labels.of(events, dataset.item_rows)).float()
    if task.kind == "binary":
        # The ratings are random here, once the next item is unknown: the best prediction is the base rate.
        rate = label.mean()
        best = float(-(rate * rate.log() + (1 - rate) * (1 - rate).log())) + 0.05
    elif task.kind == "multilabel":
        shares = (label / label.sum(dim=1, keepdim=True)).mean(dim=0)
        best = float(-(shares * shares.log()).sum())  # the best prediction without the state
    else:
        best = float(np.log(60))
    assert [epoch.number for epoch in history] == list(range(1, 21))
    assert history[-1].losses[task.name] < best - 0.005
    assert history[-1].losses[task.name] < history[0].losses[task.name] - 0.005


def test_a_second_task_reads_nothing_of_the_first(added, small_training, small_dataset, tables, language_model):
    updated, _, dataset = added
    name = dataset.scenario.tasks[-1].name
    other = next(task for task in (LIKED, SHELF) if task.name != name)
    scenario = scenario_with(dataset.scenario, other)
    twice, _ = add_task(updated, dataset_of(scenario, tables, small_dataset, language_model), epochs=1)
    before = scores_of(twice, dataset)
    with torch.no_grad():
        for parameter in twice.added_towers[name].parameters():
            parameter.fill_(7.0)
    after = scores_of(twice, dataset)
    assert (before.pop(name) != after[name]).any()
    for task, scores in before.items():
        np.testing.assert_array_equal(after[task], scores)


def test_a_name_that_is_taken(small_scenario):
    with pytest.raises(ScenarioError, match="task 'scene' is there already; allowed: any name but item, user, scene"):
        scenario_with(small_scenario, SHELF.model_copy(update={"name": "scene"}))


def test_a_label_that_the_scenario_does_not_have(small_scenario):
    task = LIKED.model_copy(update={"label": LIKED.label.model_copy(update={"column": "stars"})})
    with pytest.raises(
        ScenarioError, match=r"task 'liked' does not fit scenario 'small': tasks\.3\.label\.column: 'stars'"
    ):
        scenario_with(small_scenario, task)


def test_a_task_without_labels(small_training, small_dataset, tables, language_model):
    where = LIKED.label.model_validate({**LIKED.label.model_dump(), "where": {"column": "rating", "at_least": 6}})
    scenario = scenario_with(small_dataset.scenario, LIKED.model_copy(update={"label": where}))
    with pytest.raises(DataError, match="task 'liked': no training event has a label"):
        add_task(small_training[0], dataset_of(scenario, tables, small_dataset, language_model))


def test_the_served_graph_keeps_every_bit(
    small_training, small_dataset, small_checkpoint, small_bundle, tables, language_model, tmp_path
):
    scenario = scenario_with(small_dataset.scenario, LIKED)
    dataset = dataset_of(scenario, tables, small_dataset, language_model)
    updated, history = add_task(small_training[0], dataset, epochs=2)
    save_checkpoint(updated, history, language_model.sha256, tmp_path / "model")
    requests = small_dataset.requests(np.flatnonzero(small_dataset.split == "test"))
    previous = Version(small_checkpoint, small_bundle)
    exported = export_next(previous, tmp_path / "model", previous.catalogues(), requests, {}, tmp_path / "bundle")
    old, new = previous.contract(), exported.contract
    assert new.model_version != old.model_version
    assert new.models[TEXT_ENCODER].sha256 == old.models[TEXT_ENCODER].sha256
    assert [spec.name for spec in new.answers] == [*(spec.name for spec in old.answers), "liked_scores"]
    names = check_same_responses(small_bundle, tmp_path / "bundle", requests)
    assert names == [spec.name for spec in old.outputs]

    with pytest.raises(ContractError, match=r"liked_scores: is not an output of .*"):
        check_same_responses(tmp_path / "bundle", small_bundle, requests)


def test_one_bit_is_a_difference(small_bundle, small_dataset, monkeypatch):
    requests = small_dataset.requests(np.flatnonzero(small_dataset.split == "test"))
    bits = iter([0.0, 1e-7])

    def moved(*arguments):
        answers = bundle_outputs(*arguments)
        answers["scene_scores"][3, 1] += np.float32(next(bits))
        return answers

    monkeypatch.setattr("polytask.updates.next_version.bundle_outputs", moved)
    with pytest.raises(ContractError, match=r"scene_scores: .* returns 0\.\d+, .* returns 0\.\d+ \(request 3\)"):
        check_same_responses(small_bundle, small_bundle, requests)
