"""Merging the recommendations of the tasks into one list."""

import math

import numpy as np
import pytest

from polytask.contract.tensors import MASKED_SCORE
from polytask.scenario import Scenario
from serving.transformer.api.answers import ResponseTensor
from serving.transformer.api.slate import Entry, entries_of, merge, mergeable, slate_tensors


@pytest.fixture(scope="module")
def scenario(small_scenario: Scenario) -> Scenario:
    """With a binary and a regression task besides."""
    mapping = small_scenario.model_dump()
    rating = {"source": "interaction", "column": "rating"}
    mapping["tasks"] = [
        *mapping["tasks"],
        {"name": "liked", "title": "Will like it", "kind": "binary", "label": {**rating, "at_least": 4}},
        {"name": "stars", "title": "Stars", "kind": "regression", "label": rating},
    ]
    return Scenario.model_validate(mapping)


def answers() -> dict[str, list[Entry]]:
    return {
        "item": [Entry("item", "7", "Heat", 2.0), Entry("item", "14", "Alien", 2.0 - math.log(2))],
        "scene": [Entry("scene", "Drama", "Drama", 0.6), Entry("scene", "Comedy", "Comedy", 0.3)],
        "liked": [Entry("liked", "liked", "Will like it", 0.8)],
    }


def test_the_score_is_priority_times_relative_probability(scenario: Scenario):
    merged = merge(scenario, {"item": 0.5, "scene": 0.4, "liked": 0.1}, answers())
    assert [(entry.id, pytest.approx(entry.score)) for entry in merged] == [
        ("7", 0.5),
        ("Drama", 0.4),
        ("14", 0.25),
        ("Comedy", 0.2),
        ("liked", 0.08),
    ]


def test_a_task_of_weight_zero_stands_last(scenario: Scenario):
    merged = merge(scenario, {"item": 0.0, "scene": 1.0}, answers())
    assert [entry.task for entry in merged] == ["scene", "scene", "item", "item"]


def test_equal_scores_stand_in_the_order_of_the_priorities(scenario: Scenario):
    merged = merge(scenario, {"scene": 0.5, "item": 0.5}, answers())
    assert [entry.id for entry in merged][:2] == ["Drama", "7"]
    assert merged[0].score == merged[1].score


def test_a_task_without_entries_is_left_out(scenario: Scenario):
    merged = merge(scenario, {"item": 0.5, "scene": 0.5}, {**answers(), "item": []})
    assert [entry.id for entry in merged] == ["Drama", "Comedy"]


def test_entries_of_each_kind(scenario: Scenario):
    tensors = {
        "item_ids": np.array([[7, -1]]),
        "item_titles": np.array([["Heat", ""]], dtype=object),
        "item_scores": np.array([[2.5, MASKED_SCORE]], np.float32),
        "scene_labels": np.array([["Drama", "Comedy"]], dtype=object),
        "scene_scores": np.array([[0.75, 0.25]], np.float32),
        "liked_scores": np.array([[0.5]], np.float32),
    }
    made = {name: ResponseTensor(name, "", values) for name, values in tensors.items()}
    assert entries_of(scenario.task("item"), made, 0) == [Entry("item", "7", "Heat", 2.5)]
    drama, comedy = Entry("scene", "Drama", "Drama", 0.75), Entry("scene", "Comedy", "Comedy", 0.25)
    assert entries_of(scenario.task("scene"), made, 0) == [drama, comedy]
    assert entries_of(scenario.task("liked"), made, 0) == [Entry("liked", "liked", "Will like it", 0.5)]
    assert mergeable(scenario, ["item", "liked", "stars"]) == ("item", "liked")


def test_tensors_are_cut_and_padded(scenario: Scenario):
    merged = merge(scenario, {"scene": 1.0}, answers())
    made = slate_tensors([merged, merged], [1, 3], ["scene"], np.ones((2, 1)))
    tensors = {tensor.name: tensor.values.tolist() for tensor in made}
    assert tensors["slate_ids"] == [["Drama", "", ""], ["Drama", "Comedy", ""]]
    assert tensors["slate_scores"] == [[1.0, *[np.float32(MASKED_SCORE)] * 2], [1.0, 0.5, np.float32(MASKED_SCORE)]]
    assert (tensors["priority_tasks"], tensors["priority"]) == ([["scene"]] * 2, [[1.0]] * 2)
