"""The three steps without a server: a feature store that is down or slow, and what the predictor is asked for."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from polytask.scenario import Scenario
from polytask.tables import Tables
from serving.transformer.bundle import load_bundle
from serving.transformer.deadline import Deadline, Unavailable
from serving.transformer.features import OnlineFeatures
from serving.transformer.metrics import Metrics
from serving.transformer.recommend import Recommender
from serving.transformer.wire import InputTensor
from tests.serving.bundle import write_bundle
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
    """Answers zeros of the right shapes and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.inputs: dict[str, dict[str, Any]] = {}

    async def infer(
        self, model: str, inputs: Mapping[str, Any], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, Any]:
        self.asked.append((model, list(outputs)))
        self.inputs[model] = dict(inputs)
        rows = len(next(iter(inputs.values())))
        return {name: np.zeros((rows, 4), np.int64 if name.endswith("_ids") else np.float32) for name in outputs}


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
    assert predictor.asked == [("text_encoder", ["text_vector"]), ("multitask", ["scene_scores"])]
    assert [tensor.name for tensor in tensors] == ["scene_labels", "cold_start"]


def test_the_items_of_a_call_reach_the_model(folder: Path):
    """Items have the keys 7, 14, 21...; the store knows no history of the user."""
    predictor = RecordingPredictor()
    lists = {"recent_items": [7, 999, 14], "exclude_items": [21], "negative_items": [28, 999]}
    tensors = (USER, *(InputTensor(name, "INT64", [1, len(ids)], data=ids) for name, ids in lists.items()))
    answer(folder, Store(), predictor, [], tensors)
    rows = {name: array[0].tolist() for name, array in predictor.inputs["multitask"].items()}
    assert rows["history"] == [0] * 8 + [1, 2]
    assert rows["seen"] == [1, 2, 3] + [0] * 45
    assert rows["negative"] == [4] + [0] * 15


def test_flags_alone_ask_no_model(folder: Path):
    predictor = RecordingPredictor()
    (tensor,) = answer(folder, Store(), predictor, ["cold_start"])
    assert (tensor.values.tolist(), predictor.asked) == ([[False]], [])


def test_a_feature_store_that_is_down_is_unavailable(folder: Path):
    with pytest.raises(Unavailable, match="feature store: refused"):
        answer(folder, Store(error=Unavailable("feature store: refused")), RecordingPredictor(), [])


def test_a_slow_feature_store_is_unavailable_at_the_deadline(folder: Path):
    recommender = Recommender(
        load_bundle(folder), Store(delay=1.5), RecordingPredictor(), Metrics(CollectorRegistry()), 0.2, text_cache=10
    )

    async def run() -> float:
        start = time.monotonic()
        with pytest.raises(Unavailable, match=r"feature store: no answer within the deadline of 0\.2 s"):
            await recommender.prepare([USER], [], now=0)
        return time.monotonic() - start

    assert asyncio.run(run()) < 1.0


def test_the_context_of_a_request_is_part_of_its_text(small_scenario: Scenario, tables: Tables, tmp_path: Path):
    scenario = with_weather(small_scenario)
    write_bundle(tmp_path, scenario, tables)
    predictor = RecordingPredictor()
    context = InputTensor("context", "BYTES", [1, 1], data=["weather=rain"])
    answer(tmp_path, Store(), predictor, ["scene_scores"], (USER, context))
    expected, _ = load_bundle(tmp_path).tokenizer(["rain, night"])
    assert predictor.inputs["text_encoder"]["input_ids"].tolist() == expected.tolist()
