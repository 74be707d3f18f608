"""Explanations of the small trained model: right by hand, bounded, and faithful to what the model does."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from polytask.contract.contract import MULTITASK, TEXT_ENCODER
from polytask.contract.tensors import TEXT_VECTOR
from polytask.data.request import RequestFeatures
from polytask.data.tables import Tables
from polytask.errors import RequestError
from serving.explainer.explain import Explainer, _scores
from serving.explainer.occlusion import MAX_PARTS, parts_of
from serving.transformer.api.parse import Request
from serving.transformer.bundle import Bundle, load_bundle
from serving.transformer.concurrency.deadline import Deadline
from tests.serving.explainer.in_process import Memory, OnnxPredictor, send_request

NOW = 1_711_000_000


@pytest.fixture(scope="module")
def bundle(small_bundle) -> Bundle:
    return load_bundle(small_bundle)


@pytest.fixture(scope="module")
def predictor(small_bundle) -> OnnxPredictor:
    return OnnxPredictor(small_bundle)


@pytest.fixture(scope="module")
def explainer(bundle: Bundle, predictor: OnnxPredictor, tables: Tables) -> Explainer:
    return Explainer(bundle, Memory(tables), predictor)


def score(explainer: Explainer, features: RequestFeatures, item: int) -> float:
    """The model's score of an item for a request, however low: what is above it is masked, K at a time."""
    bundle = explainer._bundle
    rows = bundle.encoder.rows([features])
    vector = asyncio.run(explainer._vectors([bundle.encoder.text(features)], Deadline(60)))[0]
    row = bundle.encoder.items.row(item)
    above: list[int] = []
    while True:
        rows["seen"][0] = 0
        rows["seen"][0, : len(above)] = above
        inputs = {TEXT_VECTOR: vector, **rows}
        got = asyncio.run(explainer._predictor.infer(MULTITASK, inputs, ["item_ids", "item_scores"], Deadline(60)))
        found = np.flatnonzero(got["item_ids"][0] == row)
        if len(found):
            return float(got["item_scores"][0, found[0]])
        room = rows["seen"].shape[1] - len(above)
        assert room > 0, "no room to look deeper"
        above += got["item_ids"][0].tolist()[:room]


def test_a_contribution_is_the_difference_to_the_request_without_the_part(explainer: Explainer, bundle: Bundle):
    (found,) = send_request(
        explainer, Request(10, NOW, "a western film", recent_items=(7, 14)), tasks=["item", "scene"]
    )
    answer = found["tasks"]["item"]["answer"]
    online = explainer._look_up.features.read([10], [NOW])[0]
    features = RequestFeatures(
        10, online.profile, online.context, (*online.history, 7, 14), (*online.seen, 7, 14), (), "a western film"
    )
    newest = features.history[-10:]
    assert [one["id"] for one in sorted(found["tasks"]["item"]["history"], key=lambda one: str(one["id"]))] == sorted(
        newest, key=str
    )
    assert answer["score"] == pytest.approx(score(explainer, features, answer["id"]), abs=1e-5)
    for one in found["tasks"]["item"]["history"]:
        rest = [item for item in newest if item != one["id"]]
        without = score(explainer, replace(features, history=rest), answer["id"])
        if one["at_least"]:
            assert without <= answer["score"] - one["contribution"] + 1e-5
        else:
            assert one["contribution"] == pytest.approx(answer["score"] - without, abs=1e-5)
    words = {(one["part"], one["text"]) for one in found["tasks"]["scene"]["words"]}
    moment = {("context", "evening"), ("context", "weekday")}
    assert words == moment | {
        ("query", "a"),
        ("query", "western"),
        ("query", "film"),
        ("context", "evening"),
        ("context", "weekday"),
    }
    for task in found["tasks"].values():
        for part in ("history", "words"):
            values = [one["contribution"] for one in task[part]]
            assert values == sorted(values, reverse=True)


def test_any_answer_of_a_list_can_be_explained(explainer: Explainer, predictor: OnnxPredictor):
    request = Request(10, NOW, recent_items=(7, 14))
    online = explainer._look_up.features.read([10], [NOW])[0]
    features = RequestFeatures(10, online.profile, online.context, (*online.history, 7, 14), (*online.seen, 7, 14))
    first = send_request(explainer, request)[0]["tasks"]
    bundle = explainer._bundle
    rows = bundle.encoder.rows([features])
    vector = asyncio.run(explainer._vectors([bundle.encoder.text(features)], Deadline(60)))[0]
    outputs = ["item_ids", "item_scores", "scene_scores"]
    got = asyncio.run(predictor.infer(MULTITASK, {TEXT_VECTOR: vector, **rows}, outputs, Deadline(60)))
    third = bundle.catalogues["items"].external(int(got["item_ids"][0, 2]))
    order = np.argsort(-got["scene_scores"][0], kind="stable")
    classes = bundle.contract.scenario.task("scene").classes
    assert first["item"]["answer"]["id"] == bundle.catalogues["items"].external(int(got["item_ids"][0, 0]))
    (found,) = send_request(explainer, request, targets={"item": third, "scene": classes[order[1]]})
    item, scene = found["tasks"]["item"], found["tasks"]["scene"]
    assert (item["answer"]["id"], scene["answer"]["label"]) == (third, classes[order[1]])
    assert item["answer"]["score"] == pytest.approx(float(got["item_scores"][0, 2]), abs=1e-5)
    assert scene["answer"]["score"] == pytest.approx(float(got["scene_scores"][0, order[1]]), abs=1e-5)
    exact = next(one for one in item["history"] if not one["at_least"])
    rest = [item for item in features.history[-10:] if item != exact["id"]]
    without = score(explainer, replace(features, history=rest), third)
    assert exact["contribution"] == pytest.approx(item["answer"]["score"] - without, abs=1e-5)
    assert found["tasks"]["user"] == first["user"]


def test_with_filters_the_best_that_pass_are_explained_exactly(explainer: Explainer, tables: Tables):
    request = Request(10, NOW)
    online = explainer._look_up.features.read([10], [NOW])[0]
    features = RequestFeatures(10, online.profile, online.context, online.history, online.seen)
    genres = tables.items.set_index("item_id")["genres"]
    for genre in ("Comedy", "Western"):
        left = [item for item in genres.index if genre in genres[item] and item not in online.seen]
        best = max(left, key=lambda item: score(explainer, features, item))
        (found,) = send_request(explainer, request, tasks=["item", "scene"], filters=[f"genres={genre}"])
        item = found["tasks"]["item"]
        assert item["answer"]["id"] == best
        assert not any(one["at_least"] for one in item["history"])
        for one in item["history"][:2]:
            rest = [other for other in features.history[-10:] if other != one["id"]]
            without = score(explainer, replace(features, history=rest), best)
            assert one["contribution"] == pytest.approx(item["answer"]["score"] - without, abs=1e-5)
        assert found["tasks"]["scene"] == send_request(explainer, request, tasks=["scene"])[0]["tasks"]["scene"]
    filtered_out = next(item for item in genres.index if "Western" not in genres[item])
    with pytest.raises(RequestError, match=f"{filtered_out} is not among the"):
        send_request(explainer, request, tasks=["item"], filters=["genres=Western"], targets={"item": filtered_out})


def test_filters_that_leave_nothing_leave_nothing_to_explain(explainer: Explainer):
    (found,) = send_request(explainer, Request(10, NOW), tasks=["item"], filters=["genres=Western", "year=1..2"])
    assert found["tasks"]["item"] == {"answer": None, "history": [], "words": []}


def test_what_is_no_answer_is_refused_with_its_place(explainer: Explainer):
    requests = (Request(10, NOW), Request(20, NOW))
    seen = explainer._look_up.features.read([10], [NOW])[0].seen[0]
    with pytest.raises(RequestError, match=rf"{seen} is not among the 10 predictions") as caught:
        send_request(explainer, *requests, targets={"item": seen})
    assert caught.value.field == "instances[0].targets.item"


def test_an_explanation_takes_one_call_of_each_model(explainer: Explainer, predictor: OnnxPredictor):
    predictor.calls.clear()
    send_request(explainer, Request(20, NOW, "something that nobody typed before"))
    # The request itself, ten items, two words of the moment and five of the query; texts repeat without an item.
    assert predictor.calls == [(TEXT_ENCODER, 8), (MULTITASK, 18)]


def test_a_profile_is_explained_by_its_fields(explainer: Explainer):
    (found,) = send_request(explainer, Request(10, NOW), tasks=["scene"])
    assert {(one["part"], one["name"]) for one in found["tasks"]["scene"]["words"]} == {
        ("profile", "age"),
        ("profile", "occupation"),
        ("context", "daypart"),
        ("context", "weekpart"),
    }


def test_an_unknown_user_without_a_query_has_the_moment_only(explainer: Explainer):
    (found,) = send_request(explainer, Request(999_999, NOW), tasks=["item"])
    assert found["cold_start"]
    assert found["tasks"]["item"]["history"] == []
    assert {one["part"] for one in found["tasks"]["item"]["words"]} == {"context"}


def test_the_work_is_bounded(bundle: Bundle, explainer: Explainer):
    words = " ".join(f"word{n}" for n in range(100))
    longer = bundle.encoder.scenario.features.model_copy(update={"history_length": 500})
    encoder = type(bundle.encoder)(bundle.encoder.scenario.model_copy(update={"features": longer}), bundle.catalogues)
    history = tuple(bundle.catalogues["items"].ids) * 3
    parts = parts_of(encoder, RequestFeatures(10, history=history, query=words), explainer._titles)
    assert len(parts) == MAX_PARTS
    queries = [part for part in parts if part.kind == "query"]
    assert len(queries) == 8
    assert " ".join(part.text for part in queries) == words
    # Of a long history the newest items are explained.
    items = [part.name for part in parts if part.kind == "history"]
    assert items == list(reversed(history))[: MAX_PARTS - 8]


def test_an_answer_that_left_the_list_counts_as_at_least(bundle: Bundle):
    task = bundle.contract.scenario.task("item")
    tensors = {
        "item_ids": np.array([[5, 6], [6, 5], [6, 7], [6, 0]]),
        "item_scores": np.array([[3.0, 2.0], [2.5, 1.0], [2.0, 1.5], [2.0, -1e9]]),
    }
    scores, exact = _scores(task, tensors)
    assert scores.tolist() == [3.0, 1.0, 1.5, 2.0]
    assert exact.tolist() == [True, True, False, False]
    scores, exact = _scores(task, tensors, place=1)
    assert scores.tolist() == [2.0, 2.5, 2.0, 2.0]
    assert exact.tolist() == [True, True, True, True]


def test_the_score_of_a_class_is_followed_whatever_its_place(bundle: Bundle):
    task = bundle.contract.scenario.task("scene")
    tensors = {"scene_scores": np.array([[0.1, 0.6, 0.3, 0.0], [0.2, 0.5, 0.1, 0.2]])}
    assert [_scores(task, tensors, place)[0].tolist() for place in range(3)] == [[0.6, 0.5], [0.3, 0.1], [0.1, 0.2]]


def test_explanations_are_faithful(explainer: Explainer, tables: Tables):
    """Without the items that rank first, the first score falls further than without random ones.

    Judged by the model itself over the whole catalogue, three items at a time: an effect that the explanation, which
    takes one at a time, has not seen. Users with their own histories, and unknown ones with random recent items.
    """
    random = np.random.default_rng(11)
    items, users = tables.items["item_id"].to_numpy(), tables.users["user_id"].to_numpy()
    requests = [Request(int(user), NOW) for user in users]
    for stranger in range(40):
        recent = tuple(int(item) for item in random.choice(items, 10, replace=False))
        requests.append(Request(1_000_000 + stranger, NOW, recent_items=recent))
    first, chance = [], []
    for request in requests:
        (found,) = send_request(explainer, request, tasks=["item"])
        task = found["tasks"]["item"]
        online = explainer._look_up.features.read([request.user_id], [NOW])[0]
        history = ((*online.history, *request.recent_items))[-10:]
        features = RequestFeatures(
            request.user_id, online.profile, online.context, history, (*online.seen, *request.recent_items)
        )
        whole = score(explainer, features, task["answer"]["id"])

        def drop(gone, features=features, whole=whole, task=task) -> float:
            rest = [item for item in features.history if item not in gone]
            return whole - score(explainer, replace(features, history=rest), task["answer"]["id"])

        first.append(drop({one["id"] for one in task["history"][:3]}))
        chance.append(np.mean([drop(set(random.choice(history, 3, replace=False).tolist())) for _ in range(3)]))
    difference = np.array(first) - np.array(chance)
    assert len(difference) >= 50
    # Twice the standard error: no luck of the draw.
    assert difference.mean() > 2 * difference.std() / np.sqrt(len(difference))
