"""How the rows of a call are divided into messages to the predictor."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polytask.contract.tensors import ALLOWED, HISTORY
from polytask.data.catalogue import Catalogue
from polytask.errors import RequestError
from polytask.scenario import Scenario
from serving.transformer.api.filters import IN_LOOP_ROWS, ItemFilters
from serving.transformer.concurrency.batching import BatchedPredictor
from serving.transformer.concurrency.deadline import Deadline
from serving.transformer.predictor.message_size import MAX_MESSAGE_BYTES, messages_of, rows_per_message
from serving.triton.model_config import MAX_BATCH_SIZE


def inputs(rows: int, width: int) -> dict[str, Any]:
    """Histories that number the rows, and one mask for all of them, as a view."""
    mask = np.broadcast_to(np.ones(width, np.bool_), (rows, width))
    return {HISTORY: np.arange(rows)[:, None], ALLOWED: mask}


@pytest.mark.parametrize("width", [1, 1683, 131_073, 1_000_001, 10_000_001])
def test_each_message_is_small_and_the_rows_keep_their_order(width: int):
    parts = list(messages_of(inputs(MAX_BATCH_SIZE, width)))
    assert [row for part in parts for row in part[HISTORY][:, 0].tolist()] == list(range(MAX_BATCH_SIZE))
    for part in parts:
        rows, size = len(part[ALLOWED]), sum(values.size * values.dtype.itemsize for values in part.values())
        assert rows == len(part[HISTORY])
        assert rows == 1 or size <= MAX_MESSAGE_BYTES
    assert len(parts) == 1 or width > 1683


def test_an_empty_width_is_no_division_by_zero():
    assert rows_per_message({"empty": np.zeros((3, 0))}) == MAX_BATCH_SIZE


class Recording:
    """A predictor that records the rows of each call and returns the history."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.let = asyncio.Event()

    async def infer(
        self, model: str, inputs: Mapping[str, Any], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, Any]:
        self.rows.append(len(inputs[HISTORY]))
        await self.let.wait()
        return {"out": inputs[HISTORY]}


@pytest.mark.parametrize(("width", "together"), [(1, 40), (1_000_001, 4)])
def test_calls_are_batched_up_to_one_message(width: int, together: int):
    async def run() -> list[int]:
        predictor = Recording()
        batched = BatchedPredictor(predictor, 1)
        calls = [
            asyncio.ensure_future(batched.infer("multitask", inputs(2, width), ["out"], Deadline(60)))
            for _ in range(21)
        ]
        await asyncio.sleep(0)
        predictor.let.set()
        for answer in await asyncio.gather(*calls):
            assert answer["out"].shape == (2, 1)
        return predictor.rows

    rows = asyncio.run(run())
    assert rows[0] == 2 and sum(rows) == 42  # the first had nothing to wait for
    assert max(rows) == together


def filters_over(scenario: Scenario, count: int) -> ItemFilters:
    table = pd.DataFrame(
        {
            "item_id": np.arange(1, count + 1),
            "title": "a film",
            "year": pd.array(1900 + np.arange(count) % 100, dtype="Int64"),
            "genres": [["Drama"]] * count,
        }
    )
    return ItemFilters(scenario, Catalogue("items", "item_id", table))


def test_masks_of_many_items_are_combined_in_a_thread(small_scenario: Scenario, monkeypatch: pytest.MonkeyPatch):
    filters = filters_over(small_scenario, IN_LOOP_ROWS + 1)
    threads: list[str] = []
    combine = filters._combine

    def noting(key: tuple[str, ...]) -> Any:
        threads.append(threading.current_thread().name)
        return combine(key)

    monkeypatch.setattr(filters, "_combine", noting)

    async def run() -> None:
        first = await filters.mask(["year=1950"], Deadline(60))
        assert first.sum() == IN_LOOP_ROWS // 100
        assert await filters.mask(["year=1950"], Deadline(60)) is first
        with pytest.raises(RequestError, match="names no attribute"):
            await filters.mask(["colour=red"], Deadline(60))

    asyncio.run(run())
    filters.close()
    assert len(threads) == 2 and all(name.startswith("filters") for name in threads)


def test_remembered_masks_have_a_bound_in_bytes(small_scenario: Scenario, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.transformer.api.filters.MASKS_BYTES", 20_000)
    filters = filters_over(small_scenario, 100)
    masks = [filters.allowed([f"year={year}"]) for year in range(1900, 1990)]
    assert 0 < filters._masks.bytes <= 20_000
    assert filters.allowed(["year=1989"]) is masks[-1]
    assert filters.allowed(["year=1900"]) is not masks[0]
