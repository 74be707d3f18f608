"""The reasons against a canary, task by task."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.rollout.errors import NotServing, RolloutError
from serving.rollout.smoke_service import Expected, ServiceEndpoint, check_responses
from serving.rollout.strategies.canary_analysis import CanaryEndpoint, ProbeJudge, PrometheusJudge, Rule, load_rules

Recommendations = Callable[[str], httpx.Response]


def transformer(answer: Recommendations) -> httpx.MockTransport:
    """A transformer that returns the configured response for each task."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"inputs": [{"name": "user_id", "datatype": "BYTES"}]})
        body = json.loads(request.content)
        user, task = (tensor["data"][0] for tensor in body["inputs"])
        assert user == "0"
        return answer(task)

    return httpx.MockTransport(handle)


def right(task: str, **change: Any) -> httpx.Response:
    stamp = {"model_version": "1", "contract_checksum": "abc"}
    outputs = [{"name": f"{task}_scores", "data": [0.5]}, {"name": "cold_start", "data": [True]}]
    return httpx.Response(200, json={"parameters": stamp, "outputs": outputs, **change})


@contextmanager
def candidate(stable: Recommendations, canary: Recommendations) -> Iterator[CanaryEndpoint]:
    endpoints = [ServiceEndpoint("http://test", transformer(answer)) for answer in (stable, canary)]
    names = ("recommender", "recommender-canary", "test")
    yield CanaryEndpoint(*names, *endpoints, tasks=["item", "scene"], stable_contract="abc", canary_contract="abc")
    for endpoint in endpoints:
        endpoint.close()


def test_a_canary_as_good_as_the_stable_service_is_not_objected_to():
    with candidate(right, right) as pair:
        assert ProbeJudge(probes=3).objections(pair) == []


def test_a_task_that_fails_is_objected_to():
    def failing(task: str) -> httpx.Response:
        return right(task) if task == "item" else httpx.Response(503, json={"error": "Triton is unavailable"})

    with candidate(right, failing) as pair:
        (objection,) = ProbeJudge(probes=3).objections(pair)
    assert objection.startswith("task scene: ") and objection.endswith("503: Triton is unavailable")


def test_answers_of_another_model_are_not_judged():
    """Another rollout has changed one of the two meanwhile."""
    other = partial(right, parameters={"model_version": "2", "contract_checksum": "def"})
    for pair in (candidate(other, right), candidate(right, other)):
        with pair as both:
            objections = ProbeJudge(probes=1).objections(both)
        assert [text.partition("serves")[2] for text in objections] == [" contract def, not abc"] * 2


def test_a_task_that_is_much_slower_is_objected_to():
    def slow(task: str) -> httpx.Response:
        time.sleep(0.1 if task == "item" else 0)
        return right(task)

    with candidate(right, slow) as pair:
        (objection,) = ProbeJudge(probes=3, slack_seconds=0.06).objections(pair)
    assert objection.startswith("task item: median 1") and "at most" in objection


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (right("item", outputs=[]), "task item: no prediction, only nothing"),
        (right("item", outputs=[{"name": "user_scores", "data": [1.0]}]), "no prediction, only user_scores"),
        (right("item", outputs=[{"name": "item_scores", "data": []}]), "item_scores is empty"),
        (httpx.Response(200, text='{"parameters": {"model_version": "1", "contract_checksum": "abc"}, '
                        '"outputs": [{"name": "item_scores", "data": [NaN]}]}'), "item_scores is not finite"),
        (right("item", parameters={"model_version": "2", "contract_checksum": "abc"}), "model version 2"),
        (httpx.Response(200, text="hello"), "200: hello"),
    ],
)  # fmt: skip
def test_wrong_answers_are_refused(answer: httpx.Response, message: str):
    endpoint = ServiceEndpoint("http://test", transformer(lambda task: answer))
    with pytest.raises(NotServing, match=message):
        check_responses(endpoint, Expected("1", "abc", ["item"]))
    endpoint.close()


def prometheus(values: dict[str, list[str]], requested: list[str]) -> httpx.MockTransport:
    def handle(request: httpx.Request) -> httpx.Response:
        query = request.url.params["query"]
        requested.append(query)
        result = [{"metric": {}, "value": [0, value]} for value in values.get(query, [])]
        return httpx.Response(200, json={"status": "success", "data": {"result": result}})

    return httpx.MockTransport(handle)


def test_the_worst_series_of_a_query_counts_and_no_data_is_no_approval():
    requested: list[str] = []
    rules = (
        Rule(name="errors", query='errors{task="$task", service="$canary"}', at_most=0.01),
        Rule(name="ndcg@10", query="ndcg_$task", at_least=0.1, tasks=("item",)),
    )
    values = {
        'errors{task="item", service="recommender-canary"}': ["0.001", "0.02"],
        "ndcg_item": ["0.2", "0.15"],
    }
    judge = PrometheusJudge("http://prometheus", rules, prometheus(values, requested))
    with candidate(right, right) as pair:
        objections = judge.objections(pair)
    assert objections == ["task item: errors: 0.02, at most 0.01", "task scene: errors: no data"]
    assert len(requested) == 3


def test_a_prometheus_that_is_away_stops_the_canary():
    judge = PrometheusJudge(
        "http://prometheus",
        (Rule(name="up", query="up", at_least=1),),
        httpx.MockTransport(lambda r: httpx.Response(502)),
    )
    with candidate(right, right) as pair, pytest.raises(RolloutError, match="Prometheus at http://prometheus: up: "):
        judge.objections(pair)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {name: up, query: up, at_least: 1, limit: 2}", "limit: Extra inputs"),
        ("- {name: up, query: up}", "up: allowed: one of at_most and at_least"),
        ("5", "allowed: a list of rules"),
    ],
)
def test_wrong_rules_are_refused(text: str, message: str, tmp_path: Path):
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RolloutError, match=message):
        load_rules(path)
