"""The valid bodies of an explain request, and the field path in each error."""

from typing import Any

import pytest

from polytask.errors import RequestError
from polytask.scenario import Scenario
from serving.explainer.parse import MAX_INSTANCES, parse_body

NOW = 1_711_000_000


def test_instances_become_calls(small_scenario: Scenario):
    body = {
        "instances": [
            {"user_id": 10, "query": "a western", "recent_items": [7, 14], "exclude_items": [], "timestamp": None},
            {"user_id": 20, "targets": {"scene": "Horror"}},
        ],
        "tasks": ["scene"],
    }
    wanted = parse_body(small_scenario, body, NOW)
    assert [one.targets for one in wanted] == [{}, {"scene": "Horror"}]
    first, second = (one.call for one in wanted)
    assert (first.tasks, second.tasks) == (("scene",), ("scene",))
    (request,) = first.requests
    assert (request.user_id, request.query, request.recent_items, request.timestamp) == (10, "a western", (7, 14), NOW)
    assert second.requests[0].user_id == 20


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "request body"),
        ({}, "instances"),
        ({"instances": []}, "instances"),
        ({"instances": [{"user_id": 10}] * (MAX_INSTANCES + 1)}, "instances"),
        ({"instances": [{"user_id": 10}], "k": 3}, "k"),
        ({"instances": [{"user_id": 10}], "tasks": "scene"}, "tasks"),
        ({"instances": [{"user_id": 10}], "tasks": ["weather"]}, "tasks"),
        ({"instances": [10]}, "instances[0]"),
        ({"instances": [{"user_id": 10}, {}]}, "instances[1].user_id"),
        ({"instances": [{"user_id": "ten"}]}, "instances[0].user_id"),
        ({"instances": [{"user_id": True}]}, "instances[0].user_id"),
        ({"instances": [{"user_id": [10]}]}, "instances[0].user_id"),
        ({"instances": [{"user_id": 10, "query": {"a": 1}}]}, "instances[0].query"),
        ({"instances": [{"user_id": 10, "recent_items": 7}]}, "instances[0].recent_items"),
        ({"instances": [{"user_id": 10, "recent_items": [[7]]}]}, "instances[0].recent_items"),
        ({"instances": [{"user_id": 10, "k": 5}]}, "instances[0].k"),
        ({"instances": [{"user_id": 10, "timestamp": -1}]}, "instances[0].timestamp"),
        ({"instances": [{"user_id": 10, "timestamp": 253_402_300_799}]}, "instances[0].timestamp"),
        ({"instances": [{"user_id": 10, "query": "film \ud83d"}]}, "instances[0].query"),
        ({"instances": [{"user_id": 10, "filters": ["genres=\ud83d"]}]}, "instances[0].filters"),
        ({"instances": [{"user_id": 10, "a\ud800": 1}]}, "instances[0].a\\ud800"),
        ({"instances": [{"user_id": 10}], "a\ud800": 1}, "a\\ud800"),
        ({"instances": [{"user_id": 10, "targets": {"\ud800": 1}}]}, "instances[0].targets.\\ud800"),
        ({"instances": [{"user_id": 10, "targets": ["item"]}]}, "instances[0].targets"),
        ({"instances": [{"user_id": 10, "targets": {"weather": 7}}]}, "instances[0].targets.weather"),
        ({"instances": [{"user_id": 10, "targets": {"item": "7"}}]}, "instances[0].targets.item"),
        ({"instances": [{"user_id": 10, "targets": {"item": True}}]}, "instances[0].targets.item"),
        ({"instances": [{"user_id": 10, "targets": {"scene": "Musical"}}]}, "instances[0].targets.scene"),
        ({"instances": [{"user_id": 10, "filters": "genres=Horror"}]}, "instances[0].filters"),
        (
            {"instances": [{"user_id": 10, "targets": {"scene": "Comedy"}}], "tasks": ["item"]},
            "instances[0].targets.scene",
        ),
    ],
)
def test_what_is_not_allowed_is_named(small_scenario: Scenario, body: Any, field: str):
    with pytest.raises(RequestError, match=r"allowed|required") as caught:
        parse_body(small_scenario, body, NOW)
    assert caught.value.field == field


def test_filters_are_read_per_instance(small_scenario: Scenario):
    body = {"instances": [{"user_id": 10, "filters": ["genres=Horror", "year=1990.."]}, {"user_id": 10}]}
    assert [one.call.filters for one in parse_body(small_scenario, body, NOW)] == [("genres=Horror", "year=1990.."), ()]
