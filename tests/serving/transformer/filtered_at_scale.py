"""Filtered calls of 128 rows over a catalogue of any size against a real Triton, in its own process:
`test_filters_at_scale.py` cannot import KServe after tritonclient.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from serving.transformer.api.wire import InputTensor
from serving.transformer.bundle import load_bundle
from serving.transformer.features.reader import OnlineFeatures
from serving.transformer.observability.metrics import Metrics
from serving.transformer.predictor.client import GrpcPredictor
from serving.transformer.recommender import Recommender

ROWS = 128
DEADLINE_SECONDS = 120.0
TICK_SECONDS = 0.001


class Nobody:
    """Features of users who have done nothing."""

    in_loop = None

    def read(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        return [OnlineFeatures(context={"daypart": "night", "weekpart": "weekday"}) for _ in users]


async def longest_block(stop: asyncio.Event) -> float:
    """The longest time that the event loop did nothing else, in seconds."""
    longest = 0.0
    while not stop.is_set():
        before = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        longest = max(longest, time.perf_counter() - before - TICK_SECONDS)
    return longest


async def send_request(
    recommender: Recommender, filters: Sequence[str], rows: int = ROWS, query: str = ""
) -> np.ndarray[Any, Any]:
    """The listed item ids, (rows, 10)."""
    tensors = [
        InputTensor("user_id", "INT64", [rows, 1], data=[10] * rows),
        InputTensor("tasks", "BYTES", [1], data=["item"]),
    ]
    if query:
        tensors.append(InputTensor("query", "BYTES", [rows, 1], data=[query] * rows))
    if filters:
        tensors.append(InputTensor("filters", "BYTES", [len(filters)], data=list(filters)))
    prepared = await recommender.prepare(tensors, (), int(time.time()))
    answer = recommender.answer(prepared, await recommender.predict(prepared))
    return next(tensor.values for tensor in answer if tensor.name == "item_ids")


async def main(bundle: Path, address: str, out: Path) -> None:
    loaded = load_bundle(bundle)
    predictor = GrpcPredictor(address, loaded.contract)
    recommender = Recommender(
        loaded, Nobody(), predictor, Metrics(CollectorRegistry()), deadline_seconds=DEADLINE_SECONDS, text_cache=100
    )
    try:
        await send_request(recommender, [], 1)
        await send_request(recommender, ["year=1950..1979"], 1)
        stop = asyncio.Event()
        watching = asyncio.ensure_future(longest_block(stop))
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        # A new set of filters, with values of both kinds.
        wanted = ["year=1960..1969", "genres=Horror"]
        # A text that is in the cache is sent to the multi-task model, a new one to the ensemble.
        found = await asyncio.gather(*(send_request(recommender, wanted, query=query) for query in ("", "a ghost")))
        seconds = time.perf_counter() - started
        stop.set()
        report = {"ids": [answer.tolist() for answer in found], "seconds": seconds, "longest_block": await watching}
        out.write_text(json.dumps(report))
    finally:
        recommender.close()
        await predictor.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
