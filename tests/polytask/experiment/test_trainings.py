"""Trained models are reused until something they depend on changes; variants leave the data set as it is."""

import numpy as np
import pytest
import torch

from polytask.experiment.trainings import Trainings
from polytask.experiment.variants import variants_of, with_seed
from polytask.scenario.schema import EvaluationSettings
from polytask.training.checkpoint import save_checkpoint


@pytest.fixture
def train(small_training):
    """Writes the small model's checkpoint and counts how often."""
    targets = []

    def run(target):
        targets.append(target.name)
        save_checkpoint(*small_training, "encoder", target)

    run.targets = targets
    return run


def test_a_model_is_trained_once(small_scenario, train, tmp_path):
    first = Trainings(tmp_path, ["data"]).get("seed-3", small_scenario, "encoder", train)
    again = Trainings(tmp_path, ["data"]).get("seed-3", small_scenario, "encoder", train)
    assert (first.reused, again.reused, train.targets) == (False, True, ["seed-3"])
    assert again.seconds == first.seconds > 0
    assert len(again.epochs) == small_scenario.training.epochs


def test_it_is_trained_anew_when_something_changed(small_scenario, train, tmp_path, monkeypatch):
    def again(inputs=("data",), scenario=small_scenario, encoder="encoder"):
        return not Trainings(tmp_path, list(inputs)).get("model", scenario, encoder, train).reused

    assert again()
    assert again(inputs=["other data"])
    assert again(scenario=with_seed(small_scenario, 4))
    assert again(encoder="other encoder")
    assert not again(encoder="other encoder")
    # Settings of the evaluation do not change the model.
    assert not again(
        scenario=small_scenario.model_copy(update={"evaluation": EvaluationSettings()}), encoder="other encoder"
    )


def test_a_training_that_failed_is_not_taken_for_done(small_scenario, train, tmp_path):
    def fail(target):
        train(target)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainings(tmp_path, []).get("model", small_scenario, "encoder", fail)
    assert not Trainings(tmp_path, []).get("model", small_scenario, "encoder", train).reused


def test_variants_change_what_they_say_and_nothing_else(small_dataset):
    before = small_dataset.text_vectors.copy()
    items = torch.ones(60, before.shape[1])
    variants = {variant.name: variant for variant in variants_of(small_dataset, items, seed=9)}
    assert list(variants) == ["id_only", "random_vectors", "single_task-item", "single_task-user", "single_task-scene"]
    assert all(variant.dataset.scenario.training.seed == 9 for variant in variants.values())
    id_only, random = variants["id_only"], variants["random_vectors"]
    assert not id_only.dataset.text_vectors.any()
    assert not id_only.item_vectors.any()
    assert random.dataset.text_vectors.shape == before.shape
    assert random.item_vectors.shape == items.shape
    assert not np.allclose(random.dataset.text_vectors, before)
    single = variants["single_task-user"]
    assert [task.name for task in single.dataset.scenario.tasks] == ["user"]
    assert single.item_vectors is items
    assert np.array_equal(small_dataset.text_vectors, before)
    assert small_dataset.scenario.training.seed == 3
    assert len(small_dataset.scenario.tasks) == 3
