"""From request features to tensors: padding, unknown ids, and which items stay when there are too many."""

import numpy as np
import pytest

from polytask.contract.tensors import multitask_inputs
from polytask.data.catalogue import catalogues_of
from polytask.data.request import RequestEncoder, RequestFeatures
from polytask.scenario import Scenario


@pytest.fixture(scope="module")
def encoder(small_scenario, tables):
    return RequestEncoder(small_scenario, catalogues_of(small_scenario, tables))


def test_empty_request(encoder):
    rows = encoder.rows([RequestFeatures()])
    shapes = {"history": (1, 10), "seen": (1, 48), "user": (1, 1), "disliked": (1, 16), "allowed": (1, 1)}
    assert {name: array.shape for name, array in rows.items()} == shapes
    assert rows.pop("allowed").tolist() == [[True]]
    assert all(array.dtype == np.int64 and not array.any() for array in rows.values())
    assert encoder.text(RequestFeatures()) == ""


def test_newest_item_is_last_and_unknown_items_are_left_out(encoder):
    rows = encoder.rows([RequestFeatures(user_id=20, history=[7, 999, 21, 14], seen=[21, 999, 7])])
    assert rows["history"].tolist() == [[0] * 7 + [1, 3, 2]]
    assert rows["seen"][0, :4].tolist() == [3, 1, 0, 0]
    assert rows["user"].tolist() == [[2]]


def test_newest_items_stay(encoder):
    items = [7 * row for row in range(1, 61)]
    rows = encoder.rows([RequestFeatures(user_id=999, history=items, seen=items)])
    assert rows["history"].tolist() == [list(range(51, 61))]
    assert rows["seen"].tolist() == [list(range(13, 61))]
    assert rows["user"].tolist() == [[0]]


def test_newest_disliked_items_stay_and_unknown_ones_take_no_place(encoder):
    rows = encoder.rows([RequestFeatures(disliked=[7, 999, 21]), RequestFeatures(disliked=[7] * 3 + [14] * 16)])
    assert rows["disliked"].tolist() == [[1, 3] + [0] * 14, [2] * 16]


def test_a_scenario_may_do_without_disliked_items(small_scenario, tables):
    mapping = small_scenario.model_dump()
    mapping["features"]["disliked_length"] = 0
    scenario = Scenario.model_validate(mapping)
    encoder = RequestEncoder(scenario, catalogues_of(scenario, tables))
    rows = encoder.rows([RequestFeatures(disliked=[7])])
    assert [spec.name for spec in multitask_inputs(scenario, 4)] == ["text_vector", *rows]
    assert "disliked" not in rows


def test_unknown_items_take_no_place(encoder):
    rows = encoder.rows([RequestFeatures(history=[7, *[999] * 10])])
    assert rows["history"].tolist() == [[0] * 9 + [1]]


def test_requests_do_not_depend_on_their_neighbours(encoder):
    requests = [RequestFeatures(user_id=10, history=[7]), RequestFeatures(user_id=20, history=[14, 21], seen=[7])]
    together = encoder.rows(requests)
    for position, request in enumerate(requests):
        for name, alone in encoder.rows([request]).items():
            assert (together[name][position] == alone[0]).all()


def test_text_of_a_request(encoder):
    features = RequestFeatures(
        profile={"age": 30.0, "occupation": "writer"}, context={"weekpart": "weekday", "daypart": "evening"}
    )
    assert encoder.text(features) == "30 year old writer, weekday evening"
