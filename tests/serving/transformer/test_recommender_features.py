"""The steps of a call where the feature store is down, slow or refuses a user."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from serving.transformer.api.wire import InputTensor
from serving.transformer.bundle import load_bundle
from serving.transformer.concurrency.deadline import Deadline, DeadlineExceeded, Unavailable
from serving.transformer.features.optional import FeaturePolicy
from serving.transformer.features.reader import OnlineFeatures
from serving.transformer.observability.call_record import CallRecord
from serving.transformer.observability.metrics import Metrics
from serving.transformer.recommender import Recommender
from tests.serving.transformer.recording import USER, RecordingPredictor, Store, calls

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
    """Reads in the event loop, and never returns the first time."""

    requested = 0

    async def in_loop(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:  # type: ignore[override]
        self.requested += 1
        if self.requested == 1:
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
    predictor = RecordingPredictor(error=DeadlineExceeded("predictor: no response"))
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
