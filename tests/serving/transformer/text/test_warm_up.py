"""The texts that are encoded before the first request, and that filling yields, waits and ends."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from polytask.data.request import RequestFeatures
from polytask.data.tables import Tables
from polytask.errors import ContractError
from polytask.scenario import Scenario
from serving.transformer.bundle import Bundle, load_bundle
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.text import warm_up as text_cache_fill
from serving.transformer.text.vectors import TextVectors
from serving.transformer.text.warm_up import TEXTS_AT_ONCE, common_texts, fill
from tests.serving.bundle import write_bundle
from tests.serving.transformer.text.test_vectors import Encoder, tokenizer

SATURDAY_EVENING = 1_780_777_800  # 2026-06-06 20:30 UTC
WORDS = {"daypart": "evening", "weekpart": "weekend"}


@pytest.fixture(scope="module")
def bundle(small_scenario: Scenario, tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder: Path = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, small_scenario, tables)
    return load_bundle(folder)


def test_texts_are_those_of_calls_and_the_commonest_come_first(bundle: Bundle, tables: Tables):
    texts = common_texts(bundle, SATURDAY_EVENING, 1000)
    unknown = RequestFeatures(profile={"age": None, "occupation": None}, context=WORDS)
    assert texts[0] == bundle.encoder.text(unknown)
    users = tables.users[["age", "occupation"]]
    requested = [bundle.encoder.text(RequestFeatures(profile=row, context=WORDS)) for row in users.to_dict("records")]
    assert set(texts[1:]) == set(requested) - {texts[0]}
    counts = [requested.count(text) for text in texts[1:]]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] >= counts[-1]
    assert common_texts(bundle, SATURDAY_EVENING, 5) == texts[:5]


class Sometimes(Encoder):
    """Fails with `errors`, in their order, before it returns."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    async def __call__(self, input_ids: np.ndarray, mask: np.ndarray, deadline: Deadline) -> np.ndarray:
        if self.errors:
            raise self.errors.pop(0)
        return await super().__call__(input_ids, mask, deadline)


def filled(encoder: Encoder, texts: list[str]) -> tuple[TextVectors, dict[str, int]]:
    counts: dict[str, int] = {}

    def count(source: str, number: int) -> None:
        counts[source] = counts.get(source, 0) + number

    vectors = TextVectors(tokenizer(), encoder, dim=2, count=count)
    asyncio.run(asyncio.wait_for(fill(vectors, texts), 10))
    return vectors, counts


def test_a_few_texts_at_a_time_are_encoded_and_then_found():
    encoder = Encoder()
    texts = ["x" * length for length in range(1, 2 * TEXTS_AT_ONCE + 2)]
    vectors, counts = filled(encoder, texts)
    assert [len(batch) for batch in encoder.batches] == [TEXTS_AT_ONCE, TEXTS_AT_ONCE, 1]
    assert counts == {"ahead": len(texts)}, "encoding ahead is no miss of a call"
    asyncio.run(vectors(texts[:3], Deadline(5)))
    assert counts == {"ahead": len(texts), "hit": 3}


def test_it_waits_for_a_predictor_that_is_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(text_cache_fill, "RETRY_SECONDS", 0.01)
    vectors, counts = filled(Sometimes(Unavailable("away"), Unavailable("away")), ["a", "bb"])
    assert (len(vectors), counts) == (2, {"ahead": 2})


@pytest.mark.parametrize("error", [ContractError("another model"), RuntimeError("another model")])
def test_any_other_fault_ends_it_quietly(error: Exception, caplog: pytest.LogCaptureFixture):
    vectors, counts = filled(Sometimes(error), ["a", "bb"])
    assert (len(vectors), counts) == (0, {})
    assert "another model" in caplog.text


class Slow(Encoder):
    """Takes its time, and records when it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[float] = []

    async def __call__(self, input_ids: np.ndarray, mask: np.ndarray, deadline: Deadline) -> np.ndarray:
        self.begun.append(time.monotonic())
        await asyncio.sleep(0.05)
        return await super().__call__(input_ids, mask, deadline)


def test_it_pauses_for_as_long_as_it_worked():
    encoder = Slow()
    filled(encoder, ["x" * length for length in range(1, TEXTS_AT_ONCE + 2)])
    first, second = encoder.begun
    assert second - first >= 0.1


def test_the_text_of_a_user_without_a_profile_is_that_of_an_unknown_one(
    small_scenario: Scenario, tables: Tables, tmp_path: Path
):
    nobody = tables.users.assign(age=np.nan, occupation=None)
    write_bundle(tmp_path, small_scenario, tables._replace(users=nobody))
    texts = common_texts(load_bundle(tmp_path), SATURDAY_EVENING, 1000)
    assert len(texts) == 1


def test_calls_go_on_meanwhile_and_one_that_is_encoded_already_is_left_out():
    async def run() -> list[list[int]]:
        encoder = Encoder()
        vectors = TextVectors(tokenizer(), encoder, dim=2)
        filling = asyncio.create_task(fill(vectors, ["a", "bb", "ccc"]))
        await vectors(["bb"], Deadline(5))
        await filling
        return encoder.batches

    batches = asyncio.run(run())
    assert sorted(length for batch in batches for length in batch) == [1, 2, 3]
