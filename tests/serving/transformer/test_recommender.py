"""The three steps without a server: what is requested from the predictor."""

import asyncio
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from polytask.data.tables import Tables
from polytask.scenario import Scenario
from serving.transformer.api.wire import InputTensor
from serving.transformer.bundle import load_bundle
from serving.transformer.concurrency.deadline import Unavailable
from serving.transformer.observability.metrics import Metrics
from serving.transformer.recommender import Recommender
from tests.serving.bundle import write_bundle
from tests.serving.transformer.recording import USER, RecordingPredictor, Store, answer, calls
from tests.small import with_weather


def test_the_model_is_asked_for_the_wanted_tasks_alone(folder: Path):
    predictor = RecordingPredictor()
    tensors = answer(folder, Store(), predictor, ["scene_labels", "cold_start"])
    assert predictor.requested == [("recommender", ["scene_scores", "encoded_text"])]
    assert [tensor.name for tensor in tensors] == ["scene_labels", "cold_start"]


def test_the_items_of_a_call_reach_the_model(folder: Path):
    """Items have the keys 7, 14, 21...; the store knows no history of the user."""
    predictor = RecordingPredictor()
    lists = {"recent_items": [7, 999, 14], "exclude_items": [21], "disliked_items": [28, 999]}
    tensors = (USER, *(InputTensor(name, "INT64", [1, len(ids)], data=ids) for name, ids in lists.items()))
    answer(folder, Store(), predictor, [], tensors)
    rows = {name: array[0].tolist() for name, array in predictor.inputs["recommender"].items()}
    del rows["input_ids"], rows["attention_mask"]
    assert rows["history"] == [0] * 8 + [1, 2]
    assert rows["seen"] == [1, 2, 3] + [0] * 45
    assert rows["disliked"] == [4] + [0] * 15


def texts(*queries: str) -> tuple[InputTensor, ...]:
    """A call of as many users, each with a query."""
    rows = len(queries)
    users = InputTensor("user_id", "INT64", [rows, 1], data=[10 * (row + 1) for row in range(rows)])
    return users, InputTensor("query", "BYTES", [rows, 1], data=list(queries))


def recommender_of(folder: Path, predictor: RecordingPredictor) -> Recommender:
    return Recommender(load_bundle(folder), Store(), predictor, Metrics(CollectorRegistry()), 5.0, text_cache=10)


ENSEMBLE = ("recommender", ["scene_scores", "encoded_text"])


KNOWN = ("multitask", ["scene_scores"])


def test_a_new_text_takes_one_call_which_tells_its_vector_for_the_next(folder: Path):
    predictor = RecordingPredictor()
    calls(recommender_of(folder, predictor), texts("a sad film", "a war film"), texts("a war film", "a sad film"))
    assert predictor.requested == [ENSEMBLE, KNOWN]
    of_rows = predictor.inputs["recommender"]["input_ids"].sum(axis=1)
    assert of_rows[0] != of_rows[1]
    assert predictor.inputs["multitask"]["text_vector"][:, 0].tolist() == of_rows[::-1].tolist()


def test_beside_a_known_text_the_new_one_is_encoded_alone(folder: Path):
    predictor = RecordingPredictor()
    calls(recommender_of(folder, predictor), texts("a sad film"), texts("a sad film", "a war film"))
    assert predictor.requested == [ENSEMBLE, ("text_encoder", ["text_vector"]), KNOWN]
    assert len(predictor.inputs["text_encoder"]["input_ids"]) == 1


def test_a_text_that_stands_there_twice_is_encoded_once(folder: Path):
    predictor = RecordingPredictor()
    calls(recommender_of(folder, predictor), texts("a sad film", "a sad film"))
    assert predictor.requested == [("text_encoder", ["text_vector"]), KNOWN]
    assert len(predictor.inputs["text_encoder"]["input_ids"]) == 1


def test_a_text_under_way_in_the_ensemble_is_waited_for(folder: Path):
    predictor = RecordingPredictor()
    recommender = recommender_of(folder, predictor)

    async def one() -> Any:
        prepared = await recommender.prepare(texts("a sad film"), ["scene_scores"], now=0)
        return recommender.answer(prepared, await recommender.predict(prepared))

    async def run() -> None:
        predictor.gate = asyncio.Event()
        first, second = asyncio.create_task(one()), asyncio.create_task(one())
        await asyncio.sleep(0.3)
        assert predictor.requested == [ENSEMBLE]
        predictor.gate.set()
        await asyncio.wait_for(asyncio.gather(first, second), 2)

    asyncio.run(run())
    assert predictor.requested == [ENSEMBLE, KNOWN]
    vector = predictor.inputs["multitask"]["text_vector"][0, 0]
    assert vector == predictor.inputs["recommender"]["input_ids"].sum()


def test_a_failed_call_of_the_ensemble_leaves_its_text_to_the_next(folder: Path):
    predictor = RecordingPredictor(Unavailable("predictor: away"))
    recommender = recommender_of(folder, predictor)
    both = calls(recommender, texts("a sad film"), texts("a sad film"), together=True)
    assert [str(one) for one in both] == ["predictor: away"] * 2
    predictor.error = None
    predictor.requested.clear()
    assert not isinstance(calls(recommender, texts("a sad film"))[0], Exception)
    assert predictor.requested == [ENSEMBLE]


def test_flags_alone_ask_no_model(folder: Path):
    predictor = RecordingPredictor()
    (tensor,) = answer(folder, Store(), predictor, ["cold_start"])
    assert (tensor.values.tolist(), predictor.requested) == ([[False]], [])


def test_the_context_of_a_request_is_part_of_its_text(small_scenario: Scenario, tables: Tables, tmp_path: Path):
    scenario = with_weather(small_scenario)
    write_bundle(tmp_path, scenario, tables)
    predictor = RecordingPredictor()
    context = InputTensor("context", "BYTES", [1, 1], data=["weather=rain"])
    answer(tmp_path, Store(), predictor, ["scene_scores"], (USER, context))
    expected, _ = load_bundle(tmp_path).tokenizer(["rain, night"])
    assert predictor.inputs["recommender"]["input_ids"].tolist() == expected.tolist()
