"""The cache of text vectors: one call per batch of new texts, and a bound that holds."""

import asyncio
from typing import cast

import numpy as np
import pytest

from polytask.errors import ContractError
from polytask.text.templates import TextTokenizer
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.text.vectors import TextVectors


class Tokenizer:
    """The token of a text is its length, and from four letters on it is cut."""

    def tokens(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray, list[bool]]:
        ids = np.array([[len(text)] for text in texts], dtype=np.int64)
        return ids, np.ones_like(ids), [len(text) > 3 for text in texts]


def tokenizer() -> TextTokenizer:
    return cast(TextTokenizer, Tokenizer())


class Encoder:
    """The vector of a text is its length, twice."""

    def __init__(self, dim: int = 2) -> None:
        self.batches: list[list[int]] = []
        self.dim = dim

    async def __call__(self, input_ids: np.ndarray, mask: np.ndarray, deadline: Deadline) -> np.ndarray:
        self.batches.append(input_ids[:, 0].tolist())
        return np.repeat(input_ids, self.dim, axis=1).astype(np.float32)


def cache(encoder: Encoder, capacity: int) -> TextVectors:
    return TextVectors(tokenizer(), encoder, dim=2, capacity=capacity)


def send_request(vectors: TextVectors, *texts: str) -> list[float]:
    return asyncio.run(vectors(texts, Deadline(5)))[0][:, 0].tolist()


def test_only_new_texts_are_encoded_in_one_call():
    encoder = Encoder()
    vectors = cache(encoder, 10)
    assert send_request(vectors, "a", "bb", "a") == [1, 2, 1]
    assert send_request(vectors, "ccc", "bb", "dddd") == [3, 2, 4]
    assert send_request(vectors, "a") == [1]
    assert encoder.batches == [[1, 2], [3, 4]]


def test_a_text_that_was_cut_is_known_as_such_from_the_cache_too():
    vectors = cache(Encoder(), 10)
    for _ in range(2):
        assert asyncio.run(vectors(["a", "dddd", "a"], Deadline(5)))[1] == [False, True, False]


def test_the_least_recently_used_text_makes_room():
    encoder = Encoder()
    vectors = cache(encoder, 2)
    send_request(vectors, "a", "bb")
    send_request(vectors, "a")
    send_request(vectors, "ccc")
    assert len(vectors) == 2
    send_request(vectors, "a", "ccc")
    assert encoder.batches == [[1, 2], [3]]
    send_request(vectors, "bb")
    assert encoder.batches[-1] == [2]


def test_a_batch_larger_than_the_cache_is_answered_and_the_bound_holds():
    vectors = cache(Encoder(), 2)
    assert send_request(vectors, "a", "bb", "ccc", "dddd") == [1, 2, 3, 4]
    assert len(vectors) == 2


def test_a_failed_call_leaves_nothing_behind():
    encoder = Encoder(dim=3)
    vectors = cache(encoder, 2)
    with pytest.raises(ContractError, match=r"\[1, 3\], expected \[1, 2\]"):
        send_request(vectors, "a")
    assert len(vectors) == 0


def test_a_deadline_that_passed_says_what_was_waited_for():
    with pytest.raises(Unavailable, match="predictor: no response within the deadline of 0 s"):
        Deadline(0).remaining("predictor")


class GatedEncoder(Encoder):
    """Returns when the gate opens; fails for as long as `broken`."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.broken = False

    async def __call__(self, input_ids: np.ndarray, mask: np.ndarray, deadline: Deadline) -> np.ndarray:
        vectors = await super().__call__(input_ids, mask, deadline)
        broken = self.broken
        await self.gate.wait()
        if broken:
            raise Unavailable("predictor: refused")
        return vectors


def test_calls_at_once_encode_each_text_once():
    async def run() -> tuple[list[list[float]], list[list[int]], dict[str, int]]:
        encoder, counts = GatedEncoder(), dict.fromkeys(("hit", "shared", "miss"), 0)

        def count(source: str, texts: int) -> None:
            counts[source] += texts

        vectors = TextVectors(tokenizer(), encoder, dim=2, count=count)
        requested = [["a", "bb"], ["bb", "ccc", "bb"], ["ccc", "a"]]
        calls = [asyncio.create_task(vectors(texts, Deadline(5))) for texts in requested]
        await asyncio.sleep(0.05)
        encoder.gate.set()
        return [(await call)[0][:, 0].tolist() for call in calls], encoder.batches, counts

    answers, batches, counts = asyncio.run(run())
    assert answers == [[1, 2], [2, 3, 2], [3, 1]]
    assert batches == [[1, 2], [3]]
    assert counts == {"hit": 0, "shared": 3, "miss": 3}


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_call_that_fails_or_is_left_takes_no_other_with_it(end: str):
    async def run() -> tuple[list[float], list[list[int]]]:
        encoder = GatedEncoder()
        encoder.broken = end == "failed"
        vectors = cache(encoder, 10)
        first = asyncio.create_task(vectors(["a"], Deadline(5)))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(vectors(["a"], Deadline(5)))
        await asyncio.sleep(0.01)
        encoder.broken = False
        if end == "cancelled":
            first.cancel()
        encoder.gate.set()
        with pytest.raises((Unavailable, asyncio.CancelledError)):
            await first
        return (await second)[0][:, 0].tolist(), encoder.batches

    assert asyncio.run(run()) == ([1], [[1], [1]])


def test_a_call_waits_for_another_until_its_own_deadline():
    async def run() -> None:
        encoder = GatedEncoder()
        vectors = cache(encoder, 10)
        first = asyncio.create_task(vectors(["a"], Deadline(5)))
        await asyncio.sleep(0.01)
        with pytest.raises(Unavailable, match=r"text vectors: no response within the deadline of 0\.05 s"):
            await vectors(["a"], Deadline(0.05))
        encoder.gate.set()
        assert (await first)[0][:, 0].tolist() == [1]

    asyncio.run(run())


def test_long_texts_make_room_before_there_are_too_many():
    encoder = Encoder()
    vectors = cache(encoder, 10)
    for length in range(20_000, 20_010):
        send_request(vectors, "a" * length)
    assert len(vectors) == 2
    assert send_request(vectors, "a" * 20_009) == [20_009]
    assert len(encoder.batches) == 10
