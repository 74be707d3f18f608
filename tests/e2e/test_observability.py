"""The records of a call at the running transformer: timings in the response, metrics, a line in the log."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from polytask.client import Question, RecommenderClient
from polytask.errors import RequestError
from serving.local.stack import LocalStack
from tests.e2e.test_stress import wait_for
from tests.serving.bundle import VERSION

TABLE = Path(__file__).parents[2] / "docs" / "serving-metrics.md"
AHEAD = "polytask_texts_encoded_ahead"
USER, QUERY = 10, "a scary ghost story with a very unusual word: quixotry"


def metrics(stack: LocalStack) -> dict[str, Any]:
    with urllib.request.urlopen(f"{stack.rest_url}/metrics", timeout=10) as response:
        return {family.name: family for family in text_string_to_metric_families(response.read().decode())}


def values(stack: LocalStack, family: str, sample: str) -> dict[tuple[str, ...], float]:
    """Label values -> the value of a sample."""
    samples = metrics(stack)[family].samples
    return {tuple(one.labels.values()): one.value for one in samples if one.name == sample}


def calls(stack: LocalStack) -> list[dict[str, Any]]:
    """The log's lines about calls; every line has to be JSON."""
    lines = [json.loads(line) for line in stack.log_files[1].read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["event"] == "call"]


@pytest.fixture
def client(small_stack: LocalStack):
    with RecommenderClient(small_stack.grpc_url, attempts=1) as client:
        yield client


def test_an_answer_says_how_long_each_stage_took(small_stack: LocalStack, client: RecommenderClient):
    timings = client.recommend(USER, query=QUERY).timings
    assert set(timings) == {"features", "text", "predictor", "post"}
    assert all(value > 0 for value in timings.values())


def test_the_table_names_every_metric_and_no_other(small_stack: LocalStack, client: RecommenderClient):
    client.recommend(USER)
    row = re.compile(r"^\| `(polytask_\w+)` \|([^|]*)\|([^|]*)\|", re.MULTILINE)
    rows = [
        (name, kind.strip(), re.findall(r"`(\w+)`", labels)) for name, kind, labels in row.findall(TABLE.read_text())
    ]
    mine = [row for row in rows if not row[0].startswith("polytask_explainer_")]
    reported = {name.removesuffix("_total"): (kind, set(labels)) for name, kind, labels in mine}
    served = {
        name: family for name, family in metrics(small_stack).items() if re.fullmatch("polytask_.*(?<!_created)", name)
    }
    assert {name: family.type for name, family in served.items()} == {
        name: kind for name, (kind, _) in reported.items()
    }
    for name, family in served.items():
        samples = [one for one in family.samples if not one.name.endswith("_created")]
        if samples:
            assert {label for one in samples for label in one.labels} - {"le"} == reported[name][1], name


def test_metrics_count_calls_rows_tasks_and_refusals(small_stack: LocalStack, client: RecommenderClient):
    def counts() -> list[float]:
        codes = values(small_stack, "polytask_requests", "polytask_requests_total")
        rows = values(small_stack, "polytask_rows", "polytask_rows_total")
        tasks = values(small_stack, "polytask_task_predictions", "polytask_task_predictions_total")
        cold = values(small_stack, "polytask_cold_starts", "polytask_cold_starts_total")
        return [codes.get(("OK",), 0), codes.get(("INVALID_ARGUMENT",), 0), rows[()], tasks[("item",)], cold[()]]

    client.recommend(USER)
    before = counts()
    client.recommend_many([Question(USER), Question(999_999)], tasks=["item"])
    with pytest.raises(RequestError):
        client.recommend(USER, k=0)
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [1, 1, 2, 2, 1]
    checksum = client.recommend(USER).contract_checksum
    (served,) = metrics(small_stack)["polytask_bundle_info"].samples
    assert (served.labels, served.value) == ({"model_version": str(VERSION), "contract_checksum": checksum}, 1)


def test_new_and_known_texts_are_counted_and_kserves_histograms_go_on(
    small_stack: LocalStack, client: RecommenderClient
):
    def counts() -> list[float]:
        texts = values(small_stack, "polytask_text_vectors", "polytask_text_vectors_total")
        steps = [
            values(small_stack, name, f"{name}_count").get(("recommender",), 0)
            for name in ("request_preprocess_seconds", "request_predict_seconds", "request_postprocess_seconds")
        ]
        return [texts.get(("miss",), 0), texts.get(("hit",), 0), *steps]

    before = counts()
    questions = [Question(USER, "a film that nobody has seen"), Question(USER, "and another one")]
    for _ in range(2):
        client.recommend_many(questions)
    wait_for(lambda: counts()[-1] > before[-1] + 1, "the second call is not counted")
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [2, 2, 2, 2, 2]


def test_the_texts_of_profiles_are_encoded_before_anybody_asks(small_stack: LocalStack, client: RecommenderClient):
    # Thirty users, and an unknown one; the stack has been ready for a while, but filling does not delay that.
    wait_for(lambda: values(small_stack, AHEAD, f"{AHEAD}_total")[()] > 20, "no texts were encoded ahead")
    before = values(small_stack, "polytask_text_vectors", "polytask_text_vectors_total")
    client.recommend(999_998)
    after = values(small_stack, "polytask_text_vectors", "polytask_text_vectors_total")
    assert after.get(("miss",), 0) == before.get(("miss",), 0)
    assert after[("hit",)] == before.get(("hit",), 0) + 1


def test_a_call_makes_one_line_under_the_callers_id_and_without_its_words(small_stack: LocalStack):
    body = {
        "inputs": [
            {"name": "user_id", "datatype": "INT64", "shape": [1, 1], "data": [424242]},
            {"name": "query", "datatype": "BYTES", "shape": [1, 1], "data": [QUERY]},
        ]
    }
    for identifier, task in (("first-call", "item"), ("second-call", "quixotry")):
        tasks = {"name": "tasks", "datatype": "BYTES", "shape": [1], "data": [task]}
        request = urllib.request.Request(
            f"{small_stack.rest_url}/v2/models/recommender/infer",
            json.dumps({"inputs": [*body["inputs"], tasks]}).encode(),
            {"content-type": "application/json", "x-request-id": identifier},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                assert response.status == 200
        except urllib.error.HTTPError as error:
            assert (error.code, task) == (400, "quixotry")

    def lines() -> dict[str, Any]:
        return {line["request_id"]: line for line in calls(small_stack)}

    # The line is written after the response is sent.
    wait_for(lambda: {"first-call", "second-call"} <= set(lines()), "the calls made no lines")
    made = lines()
    first, second = made["first-call"], made["second-call"]
    assert (first["code"], first["batch"], first["tasks"], first["model_version"]) == ("OK", 1, ["item"], str(VERSION))
    assert first["flags"] == {"cold_start": 1, "truncated": 0, "stale_features": 0, "degraded": 0}
    assert first["predictor_ms"] > 0
    assert second["code"] == "INVALID_ARGUMENT"
    text = small_stack.log_files[1].read_text(encoding="utf-8")
    assert "quixotry" not in text
    assert "424242" not in text
