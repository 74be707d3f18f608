"""The three steps without a server: a feature store that is down or slow, and what the predictor is asked for."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from polytask.contract.tensors import ENCODED_TEXT, INPUT_IDS, TEXT_VECTOR
from polytask.data.tables import Tables
from polytask.scenario import Scenario
from serving.transformer.api.wire import InputTensor
from serving.transformer.bundle import load_bundle
from serving.transformer.concurrency.deadline import Deadline, DeadlineExceeded, Unavailable
from serving.transformer.features.optional import FeaturePolicy
from serving.transformer.features.reader import OnlineFeatures
from serving.transformer.observability.call_record import CallRecord
from serving.transformer.observability.metrics import Metrics
from serving.transformer.recommender import Recommender
from tests.serving.bundle import TEXT_DIM, write_bundle
from tests.small import with_weather

USER = InputTensor("user_id", "INT64", [1, 1], data=[10])


class Store:
    """Features after `delay` seconds, or an error."""

    def __init__(self, delay: float = 0, error: Exception | None = None) -> None:
        self.delay, self.error = delay, error

    in_loop = None

    def read(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        time.sleep(self.delay)
        if self.error is not None:
            raise self.error
        return [OnlineFeatures(context={"daypart": "night", "weekpart": "weekday"}, known=True) for _ in users]


class RecordingPredictor:
    """Answers zeros of the right shapes, or an error, and notes what was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.gate: asyncio.Event | None = None
        self.asked: list[tuple[str, list[str]]] = []
        self.inputs: dict[str, dict[str, Any]] = {}

    async def infer(
        self, model: str, inputs: Mapping[str, Any], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, Any]:
        self.asked.append((model, list(outputs)))
        self.inputs[model] = dict(inputs)
        if self.error is not None:
            raise self.error
        rows = len(next(iter(inputs.values())))
        answer = {name: np.zeros((rows, 4), np.int64 if name.endswith("_ids") else np.float32) for name in outputs}
        for name in {ENCODED_TEXT, TEXT_VECTOR} & set(outputs):  # a vector that says which text it is of
            answer[name] = np.tile(inputs[INPUT_IDS].sum(axis=1, keepdims=True), TEXT_DIM).astype(np.float32)
        if self.gate is not None:
            await self.gate.wait()
        return answer


@pytest.fixture
def folder(small_scenario: Scenario, tables: Tables, tmp_path: Path) -> Path:
    write_bundle(tmp_path, small_scenario, tables)
    return tmp_path


def answer(
    folder: Path,
    store: Store,
    predictor: RecordingPredictor,
    outputs: list[str],
    tensors: tuple[InputTensor, ...] = (USER,),
    seconds: float = 5.0,
) -> Any:
    recommender = Recommender(
        load_bundle(folder), store, predictor, Metrics(CollectorRegistry()), seconds, text_cache=10
    )

    async def run() -> Any:
        prepared = await recommender.prepare(tensors, outputs, now=0)
        return recommender.answer(prepared, await recommender.predict(prepared))

    return asyncio.run(run())


def test_the_model_is_asked_for_the_wanted_tasks_alone(folder: Path):
    predictor = RecordingPredictor()
    tensors = answer(folder, Store(), predictor, ["scene_labels", "cold_start"])
    assert predictor.asked == [("recommender", ["scene_scores", "encoded_text"])]
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


def calls(recommender: Recommender, *asked: tuple[InputTensor, ...], together: bool = False) -> list[Any]:
    """The answers of several calls, or their errors, one after the other or all at once."""

    async def one(tensors: tuple[InputTensor, ...]) -> Any:
        prepared = await recommender.prepare(tensors, ["scene_scores"], now=0)
        return recommender.answer(prepared, await recommender.predict(prepared))

    async def run() -> list[Any]:
        if together:
            return await asyncio.gather(*map(one, asked), return_exceptions=True)
        return [(await asyncio.gather(one(call), return_exceptions=True))[0] for call in asked]

    return asyncio.run(run())


def recommender_of(folder: Path, predictor: RecordingPredictor) -> Recommender:
    return Recommender(load_bundle(folder), Store(), predictor, Metrics(CollectorRegistry()), 5.0, text_cache=10)


ENSEMBLE = ("recommender", ["scene_scores", "encoded_text"])
KNOWN = ("multitask", ["scene_scores"])


def test_a_new_text_takes_one_call_which_tells_its_vector_for_the_next(folder: Path):
    predictor = RecordingPredictor()
    calls(recommender_of(folder, predictor), texts("a sad film", "a war film"), texts("a war film", "a sad film"))
    assert predictor.asked == [ENSEMBLE, KNOWN]
    of_rows = predictor.inputs["recommender"]["input_ids"].sum(axis=1)
    assert of_rows[0] != of_rows[1]
    assert predictor.inputs["multitask"]["text_vector"][:, 0].tolist() == of_rows[::-1].tolist()


def test_beside_a_known_text_the_new_one_is_encoded_alone(folder: Path):
    predictor = RecordingPredictor()
    calls(recommender_of(folder, predictor), texts("a sad film"), texts("a sad film", "a war film"))
    assert predictor.asked == [ENSEMBLE, ("text_encoder", ["text_vector"]), KNOWN]
    assert len(predictor.inputs["text_encoder"]["input_ids"]) == 1


def test_a_text_that_stands_there_twice_is_encoded_once(folder: Path):
    predictor = RecordingPredictor()
    calls(recommender_of(folder, predictor), texts("a sad film", "a sad film"))
    assert predictor.asked == [("text_encoder", ["text_vector"]), KNOWN]
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
        assert predictor.asked == [ENSEMBLE]
        predictor.gate.set()
        await asyncio.wait_for(asyncio.gather(first, second), 2)

    asyncio.run(run())
    assert predictor.asked == [ENSEMBLE, KNOWN]
    vector = predictor.inputs["multitask"]["text_vector"][0, 0]
    assert vector == predictor.inputs["recommender"]["input_ids"].sum()


def test_a_failed_call_of_the_ensemble_leaves_its_text_to_the_next(folder: Path):
    predictor = RecordingPredictor(Unavailable("predictor: away"))
    recommender = recommender_of(folder, predictor)
    both = calls(recommender, texts("a sad film"), texts("a sad film"), together=True)
    assert [str(one) for one in both] == ["predictor: away"] * 2
    predictor.error = None
    predictor.asked.clear()
    assert not isinstance(calls(recommender, texts("a sad film"))[0], Exception)
    assert predictor.asked == [ENSEMBLE]


def test_flags_alone_ask_no_model(folder: Path):
    predictor = RecordingPredictor()
    (tensor,) = answer(folder, Store(), predictor, ["cold_start"])
    assert (tensor.values.tolist(), predictor.asked) == ([[False]], [])


STRICT = FeaturePolicy(strict=True)
GONE = Unavailable("feature store: refused")


def test_a_feature_store_that_is_unavailable_degrades_the_response(folder: Path):
    """The query and the recent items of the request are used all the same, and nobody is counted as a cold start."""
    predictor, registry = RecordingPredictor(), CollectorRegistry()
    metrics = Metrics(registry)
    recommender = Recommender(load_bundle(folder), Store(error=GONE), predictor, metrics, 5.0, text_cache=10)
    query = InputTensor("query", "BYTES", [1, 1], data=["a western"])
    recent = InputTensor("recent_items", "INT64", [1, 2], data=[7, 14])

    async def run() -> Any:
        prepared = await recommender.prepare([USER, query, recent], [], now=0)
        tensors = recommender.answer(prepared, await recommender.predict(prepared))
        metrics.called(prepared.record)
        return {tensor.name: tensor.values.tolist() for tensor in tensors}

    tensors = asyncio.run(run())
    assert (tensors["degraded"], tensors["cold_start"]) == ([[True]], [[False]])
    assert tensors["scene_scores"]
    assert predictor.inputs["recommender"]["history"][0].tolist() == [0] * 8 + [1, 2]
    expected, _ = load_bundle(folder).tokenizer(["a western, weekday night"])
    assert predictor.inputs["recommender"]["input_ids"].tolist() == expected.tolist()
    value = registry.get_sample_value
    names = ("degraded_responses", "cold_starts", "feature_store_errors")
    assert [value(f"polytask_{name}_total") for name in names] == [1, 0, 1]


def test_a_strict_feature_store_that_is_down_is_unavailable(folder: Path):
    store, metrics = Store(error=GONE), Metrics(CollectorRegistry())
    recommender = Recommender(load_bundle(folder), store, RecordingPredictor(), metrics, 5.0, 10, STRICT)
    with pytest.raises(Unavailable, match="feature store: refused"):
        asyncio.run(recommender.prepare([USER], [], now=0))


def test_a_slow_strict_feature_store_is_unavailable_at_the_deadline(folder: Path):
    store, metrics = Store(delay=1.5), Metrics(CollectorRegistry())
    recommender = Recommender(load_bundle(folder), store, RecordingPredictor(), metrics, 0.2, 10, STRICT)

    async def run() -> float:
        start = time.monotonic()
        with pytest.raises(Unavailable, match=r"feature store: no response within the deadline of 0\.2 s"):
            await recommender.prepare([USER], [], now=0)
        return time.monotonic() - start

    assert asyncio.run(run()) < 1.0


class SilentStore(Store):
    """Reads in the event loop, and never answers the first time."""

    asked = 0

    async def in_loop(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:  # type: ignore[override]
        self.asked += 1
        if self.asked == 1:
            await asyncio.Event().wait()
        return self.read(users, moments)


def test_a_store_that_never_answers_the_event_loop_costs_its_call_alone(folder: Path):
    metrics = Metrics(CollectorRegistry())
    recommender = Recommender(load_bundle(folder), SilentStore(), RecordingPredictor(), metrics, 0.3, 10, STRICT)

    async def run() -> None:
        with pytest.raises(Unavailable, match=r"feature store: no response within the deadline of 0\.3 s"):
            await recommender.prepare([USER], [], now=0)
        assert (await recommender.prepare([USER], [], now=0)).inputs

    start = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - start < 2.0


@pytest.mark.parametrize(("by_caller", "errors"), [(True, 0), (False, 1)])
def test_the_deadline_of_the_caller_is_no_error_of_the_predictor(folder: Path, by_caller: bool, errors: int):
    registry = CollectorRegistry()
    predictor = RecordingPredictor(error=DeadlineExceeded("predictor: no answer"))
    recommender = Recommender(load_bundle(folder), Store(), predictor, Metrics(registry), 5.0, text_cache=10)

    async def run() -> None:
        record = CallRecord(deadline=Deadline(5.0, by_caller=by_caller))
        await recommender.predict(await recommender.prepare([USER], [], 0, record))

    with pytest.raises(DeadlineExceeded):
        asyncio.run(run())
    assert (registry.get_sample_value("polytask_predictor_errors_total", {"model": "recommender"}) or 0) == errors


class PickyStore(Store):
    """Cannot encode one user, as Feast could not encode half of a surrogate pair."""

    def read(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        if 666 in users:
            raise UnicodeEncodeError("utf-8", "a\ud800", 1, 2, "surrogates not allowed")
        return super().read(users, moments)


def test_a_user_that_the_store_cannot_encode_fails_its_own_call_alone(folder: Path):
    registry = CollectorRegistry()
    recommender = Recommender(
        load_bundle(folder), PickyStore(delay=0.05), RecordingPredictor(), Metrics(registry), 5.0, text_cache=10
    )
    users = [InputTensor("user_id", "INT64", [1, 1], data=[user]) for user in (10, 20, 666, 30)]
    outcomes = calls(recommender, *((user,) for user in users), together=True)
    assert [isinstance(outcome, UnicodeEncodeError) for outcome in outcomes] == [False, False, True, False]
    assert registry.get_sample_value("polytask_batches_rerun_total", {"work": "features"}) == 1
    assert registry.get_sample_value("polytask_feature_store_errors_total") == 0


def test_the_context_of_a_request_is_part_of_its_text(small_scenario: Scenario, tables: Tables, tmp_path: Path):
    scenario = with_weather(small_scenario)
    write_bundle(tmp_path, scenario, tables)
    predictor = RecordingPredictor()
    context = InputTensor("context", "BYTES", [1, 1], data=["weather=rain"])
    answer(tmp_path, Store(), predictor, ["scene_scores"], (USER, context))
    expected, _ = load_bundle(tmp_path).tokenizer(["rain, night"])
    assert predictor.inputs["recommender"]["input_ids"].tolist() == expected.tolist()
