"""A recommender without servers: a feature store of the test, and a predictor that records what is requested for."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from polytask.contract.tensors import ENCODED_TEXT, INPUT_IDS, TEXT_VECTOR
from serving.transformer.api.wire import InputTensor
from serving.transformer.bundle import load_bundle
from serving.transformer.concurrency.deadline import Deadline
from serving.transformer.features.reader import OnlineFeatures
from serving.transformer.observability.metrics import Metrics
from serving.transformer.recommender import Recommender
from tests.serving.bundle import TEXT_DIM

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
    """Returns zeros of the right shapes, or an error, and records the requests."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.gate: asyncio.Event | None = None
        self.requested: list[tuple[str, list[str]]] = []
        self.inputs: dict[str, dict[str, Any]] = {}

    async def infer(
        self, model: str, inputs: Mapping[str, Any], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, Any]:
        self.requested.append((model, list(outputs)))
        self.inputs[model] = dict(inputs)
        if self.error is not None:
            raise self.error
        rows = len(next(iter(inputs.values())))
        answer = {name: np.zeros((rows, 4), np.int64 if name.endswith("_ids") else np.float32) for name in outputs}
        for name in {ENCODED_TEXT, TEXT_VECTOR} & set(outputs):  # a vector that identifies its text
            answer[name] = np.tile(inputs[INPUT_IDS].sum(axis=1, keepdims=True), TEXT_DIM).astype(np.float32)
        if self.gate is not None:
            await self.gate.wait()
        return answer


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


def calls(recommender: Recommender, *requested: tuple[InputTensor, ...], together: bool = False) -> list[Any]:
    """The responses of several calls, or their errors, one after the other or all at once."""

    async def one(tensors: tuple[InputTensor, ...]) -> Any:
        prepared = await recommender.prepare(tensors, ["scene_scores"], now=0)
        return recommender.answer(prepared, await recommender.predict(prepared))

    async def run() -> list[Any]:
        if together:
            return await asyncio.gather(*map(one, requested), return_exceptions=True)
        return [(await asyncio.gather(one(call), return_exceptions=True))[0] for call in requested]

    return asyncio.run(run())
