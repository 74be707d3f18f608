"""The serving stack over the wire, gRPC and REST: its responses."""

import json
import threading
import urllib.request

import numpy as np
import pytest

from polytask.client import Question, Ranked, RecommenderClient, ScoredLabel, SlateEntry
from polytask.data.tables import Tables
from polytask.scenario import Scenario
from serving.local.stack import LocalStack
from tests.e2e.rest_calls import filters_input, rest, user_input
from tests.serving.bundle import HISTORY_SHARE, VERSION, base_scores

UNKNOWN = 999_999


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
    plain, requested = client.recommend(10, k=1), client.recommend(10, query="a scary ghost story", k=1)
    assert plain.tasks["item"][0].score != requested.tasks["item"][0].score
    assert not requested.truncated
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
    assert all(isinstance(entry, ScoredLabel) for entry in answer.tasks["scene"])


def test_a_slate_merges_the_tasks_by_the_given_weights(client: RecommenderClient):
    answer = client.recommend(10, slate=4, k=1, task_weights={"item": 3, "user": 0})
    assert answer.priority == pytest.approx({"item": 0.75, "user": 0.0, "scene": 0.25})
    # Neighbours in the lists are at least 1 apart, a factor of e; the best category has the weight of its task.
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

    def send_request(user: int) -> None:
        with RecommenderClient(small_stack.grpc_url) as own:
            for turn in range(5):
                got = own.recommend(user, query=f"query {user} {turn}", tasks=["item"], k=3).tasks["item"]
                if [entry.id for entry in got] != best_items(tables, seen_by(tables, user), 3):
                    wrong.append(user)

    threads = [threading.Thread(target=send_request, args=(user,)) for user in range(10, 90, 10)]
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
