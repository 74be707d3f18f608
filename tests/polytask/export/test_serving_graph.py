"""The served graph: excluded items are not returned, and no row number breaks it."""

import copy

import pandas as pd
import pytest
import torch

from polytask.contract.tensors import MASKED_SCORE, multitask_outputs
from polytask.data.catalogue import Catalogue
from polytask.export.disliked_items import item_classes
from polytask.export.serving_graph import ServingGraph
from polytask.model.multitask import MultiTaskModel
from polytask.scenario import Scenario

ITEMS, USERS, TEXT, BATCH = 60, 30, 6, 5


def items_of(scenario):
    """Item row r has genre r % 4, every tenth also the one after it."""
    genres = scenario.task("scene").classes
    lists = [[genres[r % 4], genres[(r + 1) % 4]] if r % 10 == 0 else [genres[r % 4]] for r in range(1, ITEMS + 1)]
    return Catalogue("items", "item_id", pd.DataFrame({"item_id": range(1, ITEMS + 1), "genres": lists}))


def graph_of(scenario):
    torch.manual_seed(0)
    model = MultiTaskModel(scenario, torch.randn(ITEMS + 1, TEXT), torch.randn(9, TEXT), users=USERS)
    with torch.no_grad():  # fresh weights give nearly equal scores, and an unmasked row 0 would win
        model.item_table.residual.weight.normal_()  # and point alike
        for name in ("item", "user"):
            model.heads[name].bias.normal_()
            model.heads[name].bias[0] = 100.0
    return ServingGraph(model, items_of(scenario))


@torch.inference_mode()
def responses_of(graph, text, history, seen, user, disliked=None, allowed=None):
    names = [spec.name for spec in multitask_outputs(graph.model.scenario, TEXT)]
    return dict(zip(names, graph(text, history, seen, user, disliked, allowed), strict=True))


@pytest.fixture(scope="module")
def graph(small_scenario):
    return graph_of(small_scenario)


@pytest.fixture
def feed():
    torch.manual_seed(1)
    seen = torch.zeros(BATCH, 48, dtype=torch.int64)
    return {
        "text": torch.randn(BATCH, TEXT),
        "history": torch.randint(1, ITEMS + 1, (BATCH, 10)),
        "seen": seen,
        "user": torch.zeros(BATCH, 1, dtype=torch.int64),
        "disliked": torch.zeros(BATCH, 16, dtype=torch.int64),
    }


def test_shapes_and_types_are_those_of_the_contract(small_scenario, graph, feed):
    answers = responses_of(graph, **feed)
    types = {"INT64": torch.int64, "FP32": torch.float32}
    for spec in multitask_outputs(small_scenario, TEXT):
        assert answers[spec.name].shape == (BATCH, *spec.shape)
        assert answers[spec.name].dtype == types[spec.dtype]


def test_the_text_vectors_are_told_as_they_came(graph, feed):
    torch.testing.assert_close(responses_of(graph, **feed)["encoded_text"], feed["text"], rtol=0, atol=0)


def test_best_rows_of_the_models_own_scores(graph, feed):
    answers = responses_of(graph, **feed)
    logits = graph.model.score(feed["history"], feed["text"])
    for name in ("item", "user"):
        expected = logits[name][:, 1:].sort(dim=1, descending=True)
        torch.testing.assert_close(answers[f"{name}_ids"], expected.indices[:, :10] + 1)
        torch.testing.assert_close(answers[f"{name}_scores"], expected.values[:, :10])
    torch.testing.assert_close(answers["scene_scores"], logits["scene"].softmax(dim=1))


def test_seen_items_are_left_out_and_the_rest_move_up(graph, feed):
    before = responses_of(graph, **feed)["item_ids"]
    feed["seen"][:, :3] = before[:, [0, 4, 9]]
    after = responses_of(graph, **feed)["item_ids"]
    kept = [position for position in range(10) if position not in (0, 4, 9)]
    assert (after[:, :7] == before[:, kept]).all()


def test_items_that_are_not_allowed_are_left_out_and_no_score_changes(graph, feed):
    feed["seen"][:, :3] = torch.tensor([4, 8, 12])
    every = responses_of(graph_with_whole_lists(graph), **feed)
    allowed = torch.rand(BATCH, ITEMS + 1) < 0.3
    feed["allowed"] = allowed
    answers = responses_of(graph, **feed)
    for row in range(BATCH):
        kept = allowed[row, every["item_ids"][row]] & (every["item_ids"][row] > 0)
        ids, scores = every["item_ids"][row][kept][:10], every["item_scores"][row][kept][:10]
        assert len(ids) == 10
        assert answers["item_ids"][row].tolist() == ids.tolist()
        torch.testing.assert_close(answers["item_scores"][row], scores, rtol=0, atol=0)
    others = responses_of(graph, **{**feed, "allowed": None})
    for name in ("user_ids", "user_scores", "scene_scores"):
        torch.testing.assert_close(answers[name], others[name], rtol=0, atol=0)


def test_one_true_for_a_request_allows_every_item(graph, feed):
    expected = responses_of(graph, **feed)
    feed["allowed"] = torch.ones(BATCH, 1, dtype=torch.bool)
    for name, value in responses_of(graph, **feed).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_a_list_of_which_nothing_is_allowed_is_empty(graph, feed):
    feed["allowed"] = torch.zeros(BATCH, ITEMS + 1, dtype=torch.bool)
    answers = responses_of(graph, **feed)
    assert not answers["item_ids"].any()
    assert (answers["item_scores"] == MASKED_SCORE).all()


def graph_with_whole_lists(graph):
    """The same weights, with lists of items as long as the catalogue."""
    scenario = graph.model.scenario
    tasks = tuple(task.model_copy(update={"top_k": ITEMS}) if task.name == "item" else task for task in scenario.tasks)
    changed = copy.deepcopy(graph)
    changed.model.scenario = scenario.model_copy(update={"tasks": tasks})
    return changed


def test_the_user_itself_is_left_out(graph, feed):
    before = responses_of(graph, **feed)["user_ids"]
    feed["user"] = before[:, :1].clone()
    after = responses_of(graph, **feed)
    assert (after["user_ids"][:, :9] == before[:, 1:]).all()
    assert (after["item_ids"] == responses_of(graph, **feed | {"user": feed["user"] * 0})["item_ids"]).all()


def test_full_list_of_seen_items_leaves_padding_masked(graph, feed):
    feed["seen"] = torch.stack([torch.randperm(ITEMS)[:48] + 1 for _ in range(BATCH)])
    ids = responses_of(graph, **feed)["item_ids"]
    assert (ids > 0).all()
    assert not (ids[:, :, None] == feed["seen"][:, None, :]).any()


@pytest.mark.parametrize("wild", [-1, -(2**40), 2**40])
@pytest.mark.parametrize("name", ["history", "seen", "user", "disliked"])
def test_rows_out_of_range_are_padding(graph, feed, name, wild):
    rows = USERS + 1 if name == "user" else ITEMS + 1
    feed[name][2, 0] = 0
    expected = responses_of(graph, **feed)
    for number in (wild, rows):
        feed[name][2, 0] = number
        for output, value in responses_of(graph, **feed).items():
            torch.testing.assert_close(value, expected[output], rtol=0, atol=0)


def test_list_longer_than_the_catalogue(small_scenario, feed):
    mapping = small_scenario.model_dump()
    for task in mapping["tasks"]:
        task["top_k"] = 70
    answers = responses_of(graph_of(Scenario.model_validate(mapping)), **feed | {"user": feed["user"] + 3})
    for name, count in (("item", ITEMS), ("user", USERS - 1)):
        ids, scores = answers[f"{name}_ids"], answers[f"{name}_scores"]
        assert ids.shape == scores.shape == (BATCH, 70)
        assert (ids[:, :count] > 0).all()
        assert all(len(row.unique()) == count for row in ids[:, :count])
        assert not ids[:, count:].any()
        assert (scores[:, count:] == MASKED_SCORE).all()


def test_empty_request(graph):
    answers = responses_of(
        graph,
        torch.zeros(1, TEXT),
        torch.zeros(1, 10, dtype=torch.int64),
        torch.zeros(1, 48, dtype=torch.int64),
        torch.zeros(1, 1, dtype=torch.int64),
    )
    assert all(torch.isfinite(value).all() for value in answers.values())
    assert (answers["item_ids"] > 0).all()


def test_without_disliked_items_every_bit_stays(graph, feed):
    expected = responses_of(graph, **feed | {"disliked": None})
    for name, value in responses_of(graph, **feed).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize("padded", [True, False])
def test_items_are_lowered_by_their_likeness_to_the_nearest_negative_item(graph, feed, padded):
    best = responses_of(graph, **feed)["item_ids"][:, 0]
    feed["disliked"][:, :3] = torch.stack([best, best * 0, best % ITEMS + 1], dim=1)
    if not padded:
        feed["disliked"][:, 1], feed["disliked"][:, 3:] = best, best[:, None]
    answers = responses_of(graph, **feed)
    unit = torch.nn.functional.normalize(graph.items[1:], dim=1)
    logits = graph.model.score(feed["history"], feed["text"])["item"][:, 1:]
    rows = torch.stack([best - 1, best % ITEMS], dim=1)
    likeness = (unit[rows] @ unit.T).amax(dim=1).clamp(min=0)
    assert (likeness == 0).any()  # items that point away from all disliked ones are not raised
    expected = logits - 0.5 * logits.std(dim=1, correction=0, keepdim=True) * likeness
    expected.scatter_(1, rows, -torch.inf)  # the disliked items themselves are left out
    scores, best_rows = expected.sort(dim=1, descending=True)
    torch.testing.assert_close(answers["item_ids"], best_rows[:, :10] + 1)
    torch.testing.assert_close(answers["item_scores"], scores[:, :10])


def test_classes_of_disliked_items_are_lowered(graph, feed):
    feed["disliked"][:, 0], feed["disliked"][:, 1] = 10, 12  # row 10 has classes 2 and 3, row 12 class 0
    logits = graph.model.score(feed["history"], feed["text"])["scene"]
    likeness = torch.tensor([1.0, 0.0, 2**-0.5, 2**-0.5])
    expected = (logits - 0.5 * logits.std(dim=1, correction=0, keepdim=True) * likeness).softmax(dim=1)
    torch.testing.assert_close(responses_of(graph, **feed)["scene_scores"], expected)


def test_item_classes_of_lists_texts_and_missing_values(small_scenario):
    task = small_scenario.task("scene").model_copy(update={"classes": ("a", "b")})
    values = [["b", "a"], "b", None, [], ["other", "a"]]
    items = Catalogue("items", "item_id", pd.DataFrame({"item_id": range(5), "genres": values}))
    assert item_classes(task, items).tolist() == [[0, 0], [1, 1], [0, 1], [0, 0], [0, 0], [1, 0]]


def test_disliked_items_leave_the_list_of_users_alone(graph, feed):
    expected = responses_of(graph, **feed)
    feed["disliked"][:, 0] = 5
    answers = responses_of(graph, **feed)
    assert (answers["item_ids"] != expected["item_ids"]).any()
    for name in ("user_ids", "user_scores"):
        torch.testing.assert_close(answers[name], expected[name], rtol=0, atol=0)
