"""From tensors of rows and scores to external ids, titles and labels."""

import numpy as np
import pytest

from polytask.contract.names import SLATE_TYPES
from polytask.contract.tensors import MASKED_SCORE
from polytask.data.catalogue import catalogues_of
from polytask.data.tables import Tables
from polytask.errors import ContractError
from polytask.scenario import Scenario
from polytask.scenario.schema import Label, Task
from serving.transformer.api.answers import ResponseTensor, ResponseWriter, response_names, response_types


@pytest.fixture
def writer(small_scenario: Scenario, tables: Tables) -> ResponseWriter:
    return ResponseWriter(small_scenario, catalogues_of(small_scenario, tables))


def by_name(tensors: list[ResponseTensor]) -> dict[str, list[list[object]]]:
    return {tensor.name: tensor.values.tolist() for tensor in tensors}


def test_rows_become_ids_and_titles_and_masked_ones_are_left_out(
    writer: ResponseWriter, small_scenario: Scenario, tables: Tables
):
    tensors = {
        "item_ids": np.array([[3, 1, 60, 0], [2, 5, 6, 7]]),
        "item_scores": np.array([[2.0, 1.5, MASKED_SCORE, MASKED_SCORE], [9, 8, 7, 6]], dtype=np.float32),
    }
    answer = by_name(writer.task(small_scenario.task("item"), tensors, [3, 2]))
    assert answer["item_ids"] == [[21, 7, -1], [14, 35, -1]]
    assert answer["item_scores"] == [[2.0, 1.5, MASKED_SCORE], [9, 8, MASKED_SCORE]]
    assert answer["item_titles"][0] == [tables.items["title"][2], tables.items["title"][0], ""]


def test_lists_are_those_of_a_loop_whatever_is_masked_and_however_long_they_are(
    writer: ResponseWriter, small_scenario: Scenario
):
    random = np.random.default_rng(5)
    kinds = set()
    for _ in range(300):
        rows = random.integers(0 if random.random() < 0.3 else 1, 61, (3, 6))
        scores = -np.sort(-random.normal(size=(3, 6)).astype(np.float32), axis=1)
        if random.random() < 0.3:
            scores[random.random((3, 6)) < 0.2] = MASKED_SCORE
        counts = random.integers(1, 7, 3).tolist() if random.random() < 0.5 else [int(random.integers(1, 7))] * 3
        answer = by_name(writer.task(small_scenario.task("item"), {"item_ids": rows, "item_scores": scores}, counts))
        for row, count in enumerate(counts):
            listed = [p for p in range(6) if rows[row, p] != 0 and scores[row, p] > MASKED_SCORE / 2][:count]
            padding = max(counts) - len(listed)
            assert answer["item_ids"][row] == [*(7 * int(rows[row, p]) for p in listed), *[-1] * padding]
            assert answer["item_scores"][row] == [*(scores[row, p] for p in listed), *[MASKED_SCORE] * padding]
            kinds.add((len(listed) == count, count == max(counts)))
    assert len(kinds) == 4


def test_profiles_of_users_are_titles_only_where_the_scenario_permits_it(
    writer: ResponseWriter, small_scenario: Scenario, tables: Tables
):
    tensors = {"user_ids": np.array([[4]]), "user_scores": np.ones((1, 1), np.float32)}
    answer = by_name(writer.task(small_scenario.task("user"), tensors, [1]))
    assert (answer["user_ids"], answer["user_titles"]) == ([[40]], [[""]])
    text = small_scenario.text.model_copy(update={"user_titles": True})
    permitted = small_scenario.model_copy(update={"text": text})
    answer = by_name(
        ResponseWriter(permitted, catalogues_of(permitted, tables)).task(permitted.task("user"), tensors, [1])
    )
    user = tables.users.iloc[3]
    assert answer["user_titles"] == [[f"{user['age']} year old {user['occupation']}"]]


def test_classes_come_best_first_with_their_own_scores(writer: ResponseWriter, small_scenario: Scenario):
    scores = np.array([[0.1, 0.9, 0.5, 0.5]], dtype=np.float32)
    answer = by_name(writer.task(small_scenario.task("scene"), {"scene_scores": scores}, [1]))
    assert answer["scene_labels"] == [["Drama", "Horror", "Western", "Comedy"]]
    assert answer["scene_scores"] == [[pytest.approx(value) for value in (0.9, 0.5, 0.5, 0.1)]]


def test_a_number_is_passed_through(writer: ResponseWriter):
    task = Task(name="stars", title="Stars", kind="regression", label=Label(source="interaction", column="rating"))
    answer = by_name(writer.task(task, {"stars_values": np.array([[3.5]], np.float32)}, [1]))
    assert answer == {"stars_values": [[3.5]]}


def test_a_row_past_the_catalogue_is_refused(writer: ResponseWriter, small_scenario: Scenario):
    tensors = {"item_ids": np.array([[61]]), "item_scores": np.ones((1, 1), np.float32)}
    below = {**tensors, "item_ids": np.array([[-3]])}
    with pytest.raises(ContractError, match="rows -3 to -3, catalogue items has rows 1 to 60"):
        writer.task(small_scenario.task("item"), below, [1])
    with pytest.raises(ContractError, match="rows 61 to 61, catalogue items has rows 1 to 60"):
        writer.task(small_scenario.task("item"), tensors, [1])


def test_every_output_has_a_type(small_scenario: Scenario):
    assert list(response_types(small_scenario)) == [*response_names(small_scenario), *SLATE_TYPES]
    assert response_types(small_scenario)["item_ids"] == ("INT64", [-1, -1])
    assert response_types(small_scenario)["scene_labels"] == ("BYTES", [-1, 4])
