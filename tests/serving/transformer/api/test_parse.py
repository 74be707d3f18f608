"""The valid inputs of a call, and the field that each error names."""

from typing import Any

import pytest

from polytask.contract.names import SLATE_TYPES
from polytask.errors import RequestError
from polytask.scenario import Scenario
from serving.transformer.api.parse import Call, CallParser, Slate, input_types
from serving.transformer.api.wire import InputTensor
from tests.small import with_weather

NOW = 1_700_000_000


def ids(*users: int) -> InputTensor:
    return InputTensor("user_id", "INT64", [len(users), 1], data=list(users))


def tensor(name: str, datatype: str, shape: list[int], *data: Any) -> InputTensor:
    return InputTensor(name, datatype, shape, data=list(data))


def parse(scenario: Scenario, *tensors: InputTensor, outputs: tuple[str, ...] = ()) -> Call:
    return CallParser(scenario).parse(tensors, outputs, NOW)


def test_a_user_alone_is_enough(small_scenario: Scenario):
    call = parse(small_scenario, ids(10))
    assert [(r.user_id, r.timestamp, r.query, r.count) for r in call.requests] == [(10, NOW, None, 10)]
    assert call.tasks == ("item", "user", "scene")
    assert {"item_titles", "scene_labels", "cold_start"} <= set(call.outputs)


def test_every_field_reaches_its_row(small_scenario: Scenario):
    call = parse(
        small_scenario,
        ids(10, 20),
        tensor("query", "BYTES", [2, 1], "a ghost story", " "),
        tensor("timestamp", "INT64", [2, 1], 5, 6),
        tensor("recent_items", "INT64", [2, 2], 7, 14, 21, 28),
        tensor("exclude_items", "INT64", [2, 0]),
        tensor("disliked_items", "INT64", [2, 1], 35, 42),
        tensor("k", "INT64", [2, 1], 3, 4),
        tensor("tasks", "BYTES", [1], "user"),
    )
    first, second = call.requests
    assert (first.query, second.query) == ("a ghost story", None)
    assert (first.timestamp, second.timestamp, first.count, second.count) == (5, 6, 3, 4)
    assert (first.recent_items, second.recent_items, first.exclude_items) == ((7, 14), (21, 28), ())
    assert (first.disliked_items, second.disliked_items) == ((35,), (42,))
    assert call.tasks == ("user",)
    flags = ("cold_start", "truncated", "stale_features", "degraded")
    assert call.outputs == ("user_ids", "user_scores", "user_titles", *flags)


def test_requested_outputs_choose_the_tasks(small_scenario: Scenario):
    call = parse(small_scenario, ids(10), outputs=("scene_labels", "truncated"))
    assert (call.tasks, call.outputs) == (("scene",), ("scene_labels", "truncated"))


def test_a_slate_merges_the_wanted_tasks(small_scenario: Scenario):
    call = parse(small_scenario, ids(10, 20), tensor("slate", "INT64", [1], 7))
    assert call.slate == Slate(("item", "user", "scene"), (7, 7))
    assert call.outputs[-6:] == tuple(SLATE_TYPES)
    assert set(SLATE_TYPES).isdisjoint(parse(small_scenario, ids(10)).outputs)
    some = [tensor("tasks", "BYTES", [2], "scene", "item"), tensor("slate", "INT64", [2, 1], 1, 2)]
    call = parse(small_scenario, ids(10, 20), *some, tensor("task_weights", "BYTES", [1], "scene=2.5"))
    assert call.slate == Slate(("item", "scene"), (1, 2), (1.0, 2.5))


def test_a_requested_slate_asks_for_the_tasks_it_merges(small_scenario: Scenario):
    call = parse(small_scenario, ids(10), outputs=("slate_ids", "cold_start"))
    assert call.tasks == ("item", "user", "scene")
    assert call.slate == Slate(call.tasks, (10,))
    assert call.outputs == ("slate_ids", "cold_start")


def weights(*texts: str) -> list[InputTensor]:
    return [ids(10), tensor("slate", "INT64", [1], 5), tensor("task_weights", "BYTES", [len(texts)], *texts)]


@pytest.mark.parametrize(
    ("field", "tensors", "outputs", "message"),
    [
        ("user_id", [], (), "is missing"),
        ("user_id", [tensor("user_id", "BYTES", [1, 1], "10")], (), "allowed: INT64"),
        ("user_id", [tensor("user_id", "INT64", [1], 10)], (), r"allowed: \[B, 1\]"),
        ("user_id", [tensor("user_id", "INT64", [0, 1])], (), "B from 1 to 128"),
        ("user_id", [ids(*range(129))], (), "B from 1 to 128"),
        ("user_id", [ids(10), ids(10)], (), "twice"),
        ("age", [ids(10), tensor("age", "INT64", [1, 1], 3)], (), "not a known input"),
        ("query", [ids(10), tensor("query", "BYTES", [2, 1], "a", "b")], (), r"allowed: \[1, 1\]"),
        (
            "query",
            [ids(10), tensor("query", "BYTES", [1, 1], "a" * 2001)],
            (),
            "2001 characters, allowed: at most 2000",
        ),
        ("timestamp", [ids(10), tensor("timestamp", "INT64", [1, 1], -1)], (), "unix seconds"),
        ("timestamp", [ids(10), tensor("timestamp", "INT64", [1, 1], 10**15)], (), "unix seconds"),
        ("recent_items", [ids(10), tensor("recent_items", "INT64", [1, 11], *range(11))], (), "n up to 10"),
        ("recent_items", [ids(10), tensor("recent_items", "BYTES", [1, 1], "7")], (), "allowed: INT64"),
        ("exclude_items", [ids(10), tensor("exclude_items", "INT64", [1], 7)], (), "n up to 48"),
        (
            "exclude_items",
            [
                ids(10),
                tensor("exclude_items", "INT64", [1, 48], *range(48)),
                tensor("recent_items", "INT64", [1, 1], 7),
            ],
            (),
            "49 items together",
        ),
        ("disliked_items", [ids(10), tensor("disliked_items", "INT64", [1, 17], *range(17))], (), "n up to 16"),
        ("disliked_items", [ids(10), tensor("disliked_items", "BYTES", [1, 1], "7")], (), "allowed: INT64"),
        ("k", [ids(10), tensor("k", "INT64", [1], 0)], (), "1 to 10"),
        ("k", [ids(10), tensor("k", "INT64", [1], 11)], (), "1 to 10"),
        ("k", [ids(10), tensor("k", "INT64", [3], 1, 1, 1)], (), "shape"),
        ("tasks", [ids(10), tensor("tasks", "BYTES", [1], "weather")], (), "allowed: item, user, scene"),
        ("tasks", [ids(10), tensor("tasks", "BYTES", [0])], (), "is empty"),
        ("tasks", [ids(10), tensor("tasks", "BYTES", [1], "item")], ("item_ids",), "one of the two"),
        ("scores", [ids(10)], ("scores",), "is not an output"),
        ("slate", [ids(10), tensor("slate", "INT64", [1], 0)], (), "1 to 100"),
        ("slate", [ids(10), tensor("slate", "INT64", [1, 2], 5, 5)], (), "shape"),
        ("task_weights", [ids(10), tensor("task_weights", "BYTES", [1], "item=1")], (), "without slate"),
        ("task_weights", weights("weather=1"), (), "'weather' is not a task of the slate, allowed: item, user, scene"),
        (
            "task_weights",
            [*weights("scene=1"), tensor("tasks", "BYTES", [1], "item")],
            (),
            "'scene' is not a task of the slate, allowed: item",
        ),
        ("task_weights", weights("item=1", "item=2"), (), "twice"),
        ("task_weights", weights("item=-1"), (), "allowed: item=number"),
        ("task_weights", weights("item=nan"), (), "allowed: item=number"),
        ("task_weights", weights("item=inf"), (), "allowed: item=number"),
        ("task_weights", weights("item"), (), "allowed: item=number"),
        ("task_weights", weights("item=0", "user=0", "scene=0"), (), "all are 0"),
    ],
)
def test_a_malformed_call_names_its_field(
    small_scenario: Scenario, field: str, tensors: list[InputTensor], outputs: tuple[str, ...], message: str
):
    with pytest.raises(RequestError, match=message) as caught:
        parse(small_scenario, *tensors, outputs=outputs)
    assert caught.value.field == field


def test_context_reaches_its_row(small_scenario: Scenario):
    scenario = with_weather(small_scenario)
    call = parse(scenario, ids(10, 20), tensor("context", "BYTES", [2, 1], "weather=rain = wet", ""))
    assert [request.context for request in call.requests] == [{"weather": "rain = wet"}, {}]
    assert parse(scenario, ids(10)).requests[0].context == {}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["place=park"], "'place=park', allowed: weather=text"),
        (["weather"], "'weather', allowed: weather=text"),
        (["weather=" + "a" * 201], "weather: 201 characters, allowed: at most 200"),
        (["weather=rain", "weather=sun"], r"shape \[1, 2\], allowed: \[1, n\] with n up to 1"),
    ],
)
def test_a_context_that_the_scenario_does_not_know_is_refused(small_scenario: Scenario, texts, message):
    with pytest.raises(RequestError, match=message) as caught:
        parse(with_weather(small_scenario), ids(10), tensor("context", "BYTES", [1, len(texts)], *texts))
    assert caught.value.field == "context"


def test_a_word_of_the_context_stands_there_once(small_scenario: Scenario):
    scenario = with_weather(small_scenario)
    two = scenario.model_copy(
        update={"features": scenario.features.model_copy(update={"context": ("weather", "place")})}
    )
    with pytest.raises(RequestError, match="context: 'weather' is given twice"):
        parse(two, ids(10), tensor("context", "BYTES", [1, 2], "weather=rain", "weather=sun"))


def test_context_is_an_input_only_where_the_scenario_has_one(small_scenario: Scenario):
    assert "context" not in input_types(small_scenario)
    assert input_types(with_weather(small_scenario))["context"] == ("BYTES", [-1, -1])
    with pytest.raises(RequestError, match="context: is not a known input"):
        parse(small_scenario, ids(10), tensor("context", "BYTES", [1, 1], "weather=rain"))
