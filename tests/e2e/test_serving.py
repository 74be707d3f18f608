"""The serving stack over the wire, gRPC and REST: answers, refusals, and what happens when a part is down."""

import json
import os
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from polytask.client import Label, Question, Ranked, RecommenderClient, ServiceUnavailable, SlateEntry
from polytask.data.tables import Tables
from polytask.errors import RequestError
from polytask.scenario import Scenario
from serving.local.stack import LocalStack
from tests.e2e.test_stress import question
from tests.serving.bundle import HISTORY_SHARE, VERSION, base_scores

UNKNOWN = 999_999


@pytest.fixture
def client(small_stack: LocalStack) -> Iterator[RecommenderClient]:
    # One attempt: a retry would hide how long one call takes.
    with RecommenderClient(small_stack.grpc_url, attempts=1) as client:
        yield client


def rest(stack: LocalStack, body: Any, path: str = "/v2/models/recommender/infer") -> tuple[int, dict[str, Any]]:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(stack.rest_url + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def user_input(user: Any, datatype: str = "INT64") -> dict[str, Any]:
    return {"name": "user_id", "datatype": datatype, "shape": [1, 1], "data": [user]}


def best_items(tables: Tables, left_out: set[int], count: int) -> list[int]:
    """External ids by the rule of the tiny model."""
    order = np.argsort(-base_scores(len(tables.items)), kind="stable")
    ids = [int(tables.items["item_id"][row - 1]) for row in order if row]
    return [item for item in ids if item not in left_out][:count]


def seen_by(tables: Tables, user: int) -> set[int]:
    events = tables.interactions
    return set(events["item_id"][events["user_id"] == user].tolist())


def test_a_known_user_gets_every_task(client: RecommenderClient, tables: Tables):
    answer = client.recommend(10, k=5)
    assert list(answer.tasks) == ["item", "user", "scene"]
    assert (answer.cold_start, answer.truncated, answer.stale_features, answer.degraded) == (False,) * 4
    assert (answer.model_version, len(answer.contract_checksum)) == (str(VERSION), 64)
    items = answer.tasks["item"]
    assert [entry.id for entry in items] == best_items(tables, seen_by(tables, 10), 5)
    titles = dict(zip(tables.items["item_id"], tables.items["title"], strict=True))
    assert [entry.title for entry in items] == [titles[entry.id] for entry in items]
    assert [entry.score for entry in items] == sorted((entry.score for entry in items), reverse=True)
    assert sorted(entry.label for entry in answer.tasks["scene"]) == ["Comedy", "Drama", "Horror", "Western"]


def test_the_list_of_users_leaves_the_user_out(client: RecommenderClient):
    best = client.recommend(UNKNOWN, tasks=["user"], k=1).tasks["user"][0]
    assert isinstance(best, Ranked)
    others = client.recommend(best.id, tasks=["user"], k=10).tasks["user"]
    assert best.id not in [entry.id for entry in others]
    assert len(others) == 10


def test_an_unknown_user_is_a_cold_start(client: RecommenderClient, tables: Tables):
    answer = client.recommend(UNKNOWN, query="a scary ghost story", k=3)
    assert answer.cold_start
    assert [entry.id for entry in answer.tasks["item"]] == best_items(tables, set(), 3)


def test_a_query_changes_the_scores_and_a_long_one_is_flagged(client: RecommenderClient):
    plain, asked = client.recommend(10, k=1), client.recommend(10, query="a scary ghost story", k=1)
    assert plain.tasks["item"][0].score != asked.tasks["item"][0].score
    assert not asked.truncated
    assert client.recommend(10, query="ghost " * 100).truncated


def test_recent_items_push_the_oldest_out_of_the_history(client: RecommenderClient, tables: Tables):
    events = tables.interactions
    history = events["item_id"][events["user_id"] == 10].tolist()[-10:]  # in the order of time
    row_of = {item: row for row, item in enumerate(tables.items["item_id"].tolist(), start=1)}
    recent = best_items(tables, seen_by(tables, 10), 1)[0]
    before, after = (
        max(entry.score for entry in client.recommend(10, recent_items=items, tasks=["scene"]).tasks["scene"])
        for items in ([], [recent])
    )
    # The last of the four classes scores three times the text's number plus a thousandth of the history's rows.
    expected = 3 * HISTORY_SHARE * (row_of[recent] - row_of[history[0]])
    assert expected != 0
    assert after - before == pytest.approx(expected, abs=1e-5)


def test_recent_excluded_and_disliked_items_are_left_out(client: RecommenderClient, tables: Tables):
    first, second, third, fourth = best_items(tables, seen_by(tables, 20), 4)
    answer = client.recommend(20, recent_items=[first], exclude_items=[second], disliked_items=[third, UNKNOWN], k=1)
    assert [entry.id for entry in answer.tasks["item"]] == [fourth]


def filters_input(*filters: str) -> dict[str, Any]:
    return {"name": "filters", "datatype": "BYTES", "shape": [len(filters)], "data": list(filters)}


def test_filters_leave_the_best_of_what_they_allow(small_stack: LocalStack, tables: Tables):
    body = {"inputs": [user_input(10), filters_input("genres=Horror", "year=1955..1992")]}
    status, answer = rest(small_stack, {**body, "outputs": [{"name": "item_ids"}, {"name": "user_ids"}]})
    assert status == 200
    got = {output["name"]: output["data"] for output in answer["outputs"]}
    items = tables.items
    allowed = items["genres"].map(lambda names: "Horror" in names) & items["year"].between(1955, 1992).fillna(False)
    left_out = seen_by(tables, 10) | set(items["item_id"][~allowed])
    expected = best_items(tables, left_out, 10)
    assert len(expected) > 1
    assert got["item_ids"] == [*expected, *[-1] * (10 - len(expected))]
    assert all(user > 0 for user in got["user_ids"])


def test_features_that_are_too_old_are_left_out_and_flagged(client: RecommenderClient, tables: Tables):
    in_two_centuries = 1_700_000_000 + 200 * 365 * 86_400
    answer = client.recommend(10, timestamp=in_two_centuries, k=3)
    assert answer.stale_features
    assert answer.cold_start
    assert [entry.id for entry in answer.tasks["item"]] == best_items(tables, set(), 3)


def test_a_batch_gives_each_user_its_own_row(client: RecommenderClient):
    users = [10, UNKNOWN, 30, 10]
    questions = [Question(user, query=None if user == 10 else "a western") for user in users]
    together = client.recommend_many(questions, k=4)
    assert [answer.user for answer in together] == users
    assert together == [client.recommend_many([question], k=4)[0] for question in questions]


def test_only_the_wanted_tasks_are_answered(client: RecommenderClient):
    answer = client.recommend(10, tasks=["scene"])
    assert list(answer.tasks) == ["scene"]
    assert all(isinstance(entry, Label) for entry in answer.tasks["scene"])


def test_a_slate_merges_the_tasks_by_the_given_weights(client: RecommenderClient):
    answer = client.recommend(10, slate=4, k=1, task_weights={"item": 3, "user": 0})
    assert answer.priority == pytest.approx({"item": 0.75, "user": 0.0, "scene": 0.25})
    # Neighbours in the lists are at least 1 apart, a factor of e; the best shelf stands at its task's weight.
    best = client.recommend(10, k=2)
    item, shelf = best.tasks["item"][0], best.tasks["scene"][0]
    assert (answer.slate[0].task, answer.slate[0].id, answer.slate[0].title) == ("item", str(item.id), item.title)
    assert answer.slate[0].score == pytest.approx(0.75)
    assert SlateEntry("scene", shelf.label, shelf.label, pytest.approx(0.25)) in answer.slate
    assert [entry.score for entry in answer.slate] == sorted((entry.score for entry in answer.slate), reverse=True)
    assert len(answer.tasks["item"]) == 1
    assert client.recommend(10).slate == ()


def test_a_slate_over_rest(small_stack: LocalStack, client: RecommenderClient):
    slate = {"name": "slate", "datatype": "INT64", "shape": [1], "data": [3]}
    names = ["slate_ids", "priority"]
    body = {"inputs": [user_input(10), slate], "outputs": [{"name": name} for name in names]}
    status, answer = rest(small_stack, body)
    assert status == 200
    got = {output["name"]: output["data"] for output in answer["outputs"]}
    # The first user, of 30, follows items 1 / 31 of the time, everybody half of it; all follow the other tasks alike.
    lift = 2 / 31
    assert got["priority"] == pytest.approx([lift / (lift + 2), 1 / (lift + 2), 1 / (lift + 2)])
    assert client.recommend(UNKNOWN, slate=3).priority == pytest.approx({"item": 1 / 3, "user": 1 / 3, "scene": 1 / 3})
    assert got["slate_ids"] == [entry.id for entry in client.recommend(10, slate=3).slate]


def test_parallel_callers_get_their_own_answers(small_stack: LocalStack, tables: Tables):
    wrong: list[int] = []

    def ask(user: int) -> None:
        with RecommenderClient(small_stack.grpc_url) as own:
            for turn in range(5):
                got = own.recommend(user, query=f"query {user} {turn}", tasks=["item"], k=3).tasks["item"]
                if [entry.id for entry in got] != best_items(tables, seen_by(tables, user), 3):
                    wrong.append(user)

    threads = [threading.Thread(target=ask, args=(user,)) for user in range(10, 90, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_rest_answers_as_grpc_does(small_stack: LocalStack, client: RecommenderClient):
    status, body = rest(small_stack, {"inputs": [user_input(10)], "outputs": [{"name": "item_ids"}]})
    assert status == 200
    assert body["outputs"][0]["data"] == [entry.id for entry in client.recommend(10).tasks["item"]]
    assert [output["name"] for output in body["outputs"]] == ["item_ids"]
    stages = [f"{stage}_ms" for stage in ("features", "text", "predictor", "post")]
    assert all(float(body["parameters"].pop(name)) >= 0 for name in stages)
    assert body["parameters"] == {
        "model_version": str(VERSION),
        "contract_checksum": client.recommend(10).contract_checksum,
    }


def test_rest_takes_and_gives_binary_tensors(small_stack: LocalStack, client: RecommenderClient):
    tensor = {**user_input(None), "parameters": {"binary_data_size": 8}}
    del tensor["data"]
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "user_ids", "parameters": {"binary_data": True}}]})
    request = urllib.request.Request(
        f"{small_stack.rest_url}/v2/models/recommender/infer",
        head.encode() + np.int64(10).tobytes(),
        {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        body, length = response.read(), int(response.headers["inference-header-content-length"])
    users = np.frombuffer(body[length:], "<i8").tolist()
    assert users == [entry.id for entry in client.recommend(10).tasks["user"]]


def test_metadata_names_every_tensor(small_stack: LocalStack, client: RecommenderClient, small_scenario: Scenario):
    assert client.input_types()["user_id"] == "INT64"
    status, body = rest(small_stack, None, "/v2/models/recommender")
    assert status == 200
    outputs = {tensor["name"] for tensor in body["outputs"]}
    assert {f"{task.name}_scores" for task in small_scenario.tasks} <= outputs


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("user_id", {"user": "ten"}),
        ("k", {"user": 10, "k": 0}),
        ("slate", {"user": 10, "slate": 101}),
        ("task_weights", {"user": 10, "slate": 5, "task_weights": {"weather": 1}}),
        ("tasks", {"user": 10, "tasks": ["weather"]}),
        ("recent_items", {"user": 10, "recent_items": [7] * 11}),
        ("exclude_items", {"user": 10, "exclude_items": ["seven"]}),
        ("disliked_items", {"user": 10, "disliked_items": [7] * 17}),
        ("timestamp", {"user": 10, "timestamp": -5}),
        ("query", {"user": 10, "query": "a" * 5000}),
    ],
)
def test_a_malformed_grpc_call_names_its_field(client: RecommenderClient, field: str, arguments: dict[str, Any]):
    with pytest.raises(RequestError) as caught:
        client.recommend(**arguments)
    assert caught.value.field == field


def test_a_datatype_that_no_protocol_knows_names_its_field(small_stack: LocalStack):
    request = service_pb2.ModelInferRequest(model_name="recommender", raw_input_contents=[b"\x00" * 8])
    request.inputs.add(name="user_id", datatype="LONG", shape=[1, 1])
    with grpc.insecure_channel(small_stack.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="user_id: datatype 'LONG'") as caught:
            stub.ModelInfer(request, timeout=5)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("names", "body"),
    [
        ("user_id", {"inputs": [{"name": "k", "datatype": "INT64", "shape": [1], "data": [1]}]}),
        ("user_id", {"inputs": [user_input("10")]}),
        ("user_id", {"inputs": [user_input(1.5)]}),
        ("user_id", {"inputs": [user_input(10, "FLOAT")]}),
        ("user_id", {"inputs": [{**user_input(10), "shape": ["one", 1]}]}),
        ("user_id", {"inputs": [{**user_input(10), "shape": [2, 1]}]}),
        ("name", {"inputs": [{"datatype": "INT64", "shape": [1, 1], "data": [1]}]}),
        ("weather", {"inputs": [user_input(10)], "outputs": [{"name": "weather"}]}),
        ("filters: genres has no value 'Horor'", {"inputs": [user_input(10), filters_input("genres=Horor")]}),
        ("filters: shape [0]", {"inputs": [user_input(10), filters_input()]}),
        ("inputs", {"input": []}),
        ("request body: is not JSON", b"{nothing"),
        ("body", b"\x80"),
    ],
)
def test_a_malformed_rest_call_names_its_field(small_stack: LocalStack, names: str, body: Any):
    status, answer = rest(small_stack, body)
    assert status == 400
    assert names in answer["error"]


def assert_both_unavailable(stack: LocalStack, client: RecommenderClient, statuses: set[int]) -> None:
    """An error over both protocols within the transformer's deadline (and a margin for a busy machine)."""
    for seconds in (_seconds_until_unavailable(client), _seconds_until_refused(stack, statuses)):
        assert seconds < stack.deadline_seconds + 1.0
    end = time.monotonic() + 10
    while rest(stack, None, "/v2/health/ready")[0] != 503:
        assert time.monotonic() < end, "the transformer is still ready"
        time.sleep(0.1)


def _seconds_until_unavailable(client: RecommenderClient) -> float:
    start = time.monotonic()
    # A text that no cache holds, so that both models are asked.
    with pytest.raises(ServiceUnavailable, match="predictor"):
        client.recommend(10, query=f"something new {start}")
    return time.monotonic() - start


def _seconds_until_refused(stack: LocalStack, statuses: set[int]) -> float:
    start = time.monotonic()
    status, body = rest(stack, {"inputs": [user_input(10)]})
    assert status in statuses
    assert "predictor" in body["error"]
    return time.monotonic() - start


def wait_until_ready(stack: LocalStack) -> None:
    deadline = time.monotonic() + 20
    while rest(stack, None, "/v2/health/ready")[0] != 200:
        assert time.monotonic() < deadline, "the transformer did not find the predictor again"
        time.sleep(0.1)


def test_a_predictor_that_hangs_is_unavailable_within_the_deadline(small_stack: LocalStack, client: RecommenderClient):
    process = small_stack.triton.process_id
    assert process is not None
    before = calls_by_code(small_stack)
    os.kill(process, signal.SIGSTOP)
    try:
        # Until a round of probes failed its calls wait for it, and then there is no pod to call.
        assert_both_unavailable(small_stack, client, {504, 503})
    finally:
        os.kill(process, signal.SIGCONT)
    wait_until_ready(small_stack)
    assert client.recommend(10).tasks
    after = calls_by_code(small_stack)
    assert after.get("DEADLINE_EXCEEDED", 0) - before.get("DEADLINE_EXCEEDED", 0) >= 1, "no call met the deadline"


def calls_by_code(stack: LocalStack) -> dict[str, float]:
    """`polytask_requests_total` by its label."""
    with urllib.request.urlopen(f"{stack.rest_url}/metrics", timeout=10) as response:
        text = response.read().decode()
    found = re.findall(r'^polytask_requests_total\{code="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {code: float(value) for code, value in found}


def test_a_slow_triton_turns_one_call_into_one_call(small_stack: LocalStack):
    """The deadline of the server is spent: another attempt would give a slow Triton the same work again."""
    process = small_stack.triton.process_id
    assert process is not None
    before = calls_by_code(small_stack)
    os.kill(process, signal.SIGSTOP)
    try:
        with (
            RecommenderClient(small_stack.grpc_url, deadline_seconds=10, attempts=3) as patient,
            pytest.raises(ServiceUnavailable, match="no response within the deadline of"),
        ):
            patient.recommend(10, query="slow once")
        with grpc.insecure_channel(small_stack.grpc_url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError) as hasty:
                stub.ModelInfer(question(10), timeout=0.2)
            assert hasty.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    finally:
        os.kill(process, signal.SIGCONT)
    wait_until_ready(small_stack)
    after = calls_by_code(small_stack)
    assert after["DEADLINE_EXCEEDED"] - before.get("DEADLINE_EXCEEDED", 0) == 1
    # Whichever of the two clocks is first: neither counts as an outage.
    theirs = ("CLIENT_DEADLINE_EXCEEDED", "CANCELLED")
    assert sum(after.get(code, 0) - before.get(code, 0) for code in theirs) == 1
    assert after.get("UNAVAILABLE", 0) == before.get("UNAVAILABLE", 0)


def test_a_dead_predictor_is_unavailable_and_one_that_returns_is_found(
    small_stack: LocalStack, client: RecommenderClient
):
    process = small_stack.triton.process_id
    assert process is not None
    os.killpg(process, signal.SIGKILL)
    try:
        assert_both_unavailable(small_stack, client, {503})
        with pytest.raises(Exception, match="Triton ended"):
            small_stack.check()
    finally:
        small_stack.triton.stop()
        small_stack.triton.start()
    wait_until_ready(small_stack)
    assert client.recommend(10).tasks
    small_stack.check()
