"""The whole online path compared with the bundle's ONNX files in a loop of one process.

`online_vs_ort`: ranked ids out, eight calls in flight, against ONNX Runtime on the tensors of the same calls:
throughput over throughput. Two kinds of calls count. Of user ids alone, whose texts are the users' profiles: the path
has most of their vectors from its cache, which a release fills at its start, and the loop, which has none, encodes
each. And of typed queries that nobody sent before, of which no cache knows anything. The loop has all cores to itself,
in the way that is quickest; the servers, Redis and the client share them. `added_p50_ms`: one call at a time, what the
path adds to the same model work.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from benchmarks.calls import UserCall
from benchmarks.figures import Figure, interleaved, ratios
from benchmarks.in_process import InProcess, fastest
from benchmarks.load import Loop
from benchmarks.overlap import Overlap, overlap_of
from benchmarks.workbench import Workbench
from serving.local.model_process import MODEL_NAME

THROUGHPUT_BAR = 0.8
ADDED_BAR_MS = 5.0
CONCURRENCY = 8
# Calls of one round, by their number of users.
CALLS = {1: 400, 16: 64}
CALLS_ALONE = 100
# About the idle time of the process that runs the models between two calls of one sequential client.
PAUSE_SECONDS = 0.005
KNOWN_TEXTS = 8
# So many rows of a trial are compared.
COMPARED_ROWS = 32


def measure(bench: Workbench, rounds: int) -> list[Figure]:
    """See the module."""
    return [_throughput(bench, rounds), _added(bench, rounds)]


def _throughput(bench: Workbench, rounds: int) -> Figure:
    parts: dict[str, list[float]] = {}
    beside: dict[str, list[float]] = {}
    details: dict[str, Any] = {}
    known = [bench.calls.query() for _ in range(KNOWN_TEXTS)]
    for batch, calls in CALLS.items():
        size = bench.size(calls, least=2 * CONCURRENCY)
        for what, make, encoded, into in (
            ("user ids", bench.calls.ids, False, parts),
            ("new texts", bench.calls.new, False, parts),
            ("texts known to both", partial(bench.calls.new, queries=known), True, beside),
        ):
            found, loop, overlap = _rates(bench, rounds, [make(size, batch) for _ in range(rounds + 1)], encoded)
            into[f"batch {batch}, {what}"] = ratios(found["online"], found["in process"])
            details[f"batch {batch}, {what}"] = {
                "calls_per_second": {side: [round(rate, 2) for rate in rates] for side, rates in found.items()},
                "in_process": f"{loop.workers} calls at a time of {loop.threads} threads",
                "overlap": round(overlap.share, 4),
                "first_difference": overlap.first_difference,
            }
    return Figure(
        "online_vs_ort",
        "throughput of the online path over that of ONNX Runtime in one process, distinct users",
        parts,
        THROUGHPUT_BAR,
        beside=beside,
        details=details,
    )


def _rates(
    bench: Workbench, rounds: int, calls: Sequence[Sequence[UserCall]], encoded: bool
) -> tuple[dict[str, list[float]], InProcess, Overlap]:
    """Calls per second of both sides in each round, over the `calls` of each round and of a trial after the last; how
    the loop does it; and how far both rank the same.

    `encoded`: whether the loop has the vectors of the texts already, as the servers then have.
    """
    reader = bench.reader
    tensors = [[bench.calls.tensors(call, reader) for call in of_round] for of_round in calls]
    loop = fastest(bench.published, bench.contract, tensors[-1], bench.cores)
    feeds = [[loop.encode(call) for call in of_round] for of_round in tensors] if encoded else tensors
    send(bench, calls[-1], CONCURRENCY)
    trial = list(zip(calls[-1], tensors[-1], strict=True))[: max(1, COMPARED_ROWS // len(calls[-1][0].users))]
    overlap = overlap_of(bench, [(call, loop.answer(feed)) for call, feed in trial])
    found = interleaved(
        rounds,
        {
            "online": lambda number: send(bench, calls[number], CONCURRENCY).rate,
            "in process": lambda number: loop.loop(feeds[number]).rate,
        },
    )
    return found, loop, overlap


def _added(bench: Workbench, rounds: int) -> Figure:
    """One call at a time, with a new text, which both sides encode, or a known one, which neither does.

    The loop has no pauses, which a server that waits for its next call has: their cost for the models is reported too.
    """
    size = bench.size(CALLS_ALONE, least=4)
    ways = [InProcess(bench.published, bench.contract, 1, threads) for threads in sorted({1, bench.cores})]
    parts: dict[str, list[float]] = {}
    beside: dict[str, list[float]] = {}
    details: dict[str, Any] = {}
    known = [bench.calls.query() for _ in range(KNOWN_TEXTS)]
    for what, texts in (("new text", None), ("known text", known)):
        calls = [bench.calls.new(size, 1, texts) for _ in range(rounds + 1)]
        tensors = [[bench.calls.tensors(call, bench.reader) for call in of_round] for of_round in calls]
        feeds = tensors if texts is None else [[ways[0].encode(call) for call in of_round] for of_round in tensors]
        send(bench, calls[-1], 1)
        _p50(ways, feeds[-1])

        def online(number: int, calls: Sequence[Sequence[UserCall]] = calls) -> float:
            return 1000 * send(bench, calls[number], 1).p50

        def in_process(number: int, feeds: Sequence[Any] = feeds, pause: float = 0.0) -> float:
            return _p50(ways, feeds[number], pause)

        found = interleaved(
            rounds,
            {
                "online": online,
                "in process": in_process,
                "with pauses": partial(in_process, pause=PAUSE_SECONDS),
            },
        )
        alone = found["in process"]
        parts[what] = [online - loop for online, loop in zip(found["online"], alone, strict=True)]
        beside[f"models with pauses, {what}"] = [
            paused - loop for paused, loop in zip(found["with pauses"], alone, strict=True)
        ]
        details[what] = {f"{side}_p50_ms": [round(value, 3) for value in values] for side, values in found.items()}
    return Figure(
        "added_p50_ms",
        "milliseconds that the online path adds to the p50 of the same model work, one call at a time, Redis",
        parts,
        ADDED_BAR_MS,
        "at most",
        beside=beside,
        details=details,
    )


def _p50(ways: Sequence[InProcess], feeds: Sequence[dict[str, NDArray[Any]]], pause: float = 0.0) -> float:
    """Milliseconds of the quickest way; which one that is changes from minute to minute."""
    return 1000 * min(way.loop(feeds, pause).p50 for way in ways)


def send(bench: Workbench, calls: Sequence[UserCall], concurrency: int) -> Loop:
    """Send all calls to the transformer, `concurrency` at a time."""
    return bench.load.grpc(bench.stack.grpc_url, [call.message(MODEL_NAME) for call in calls], concurrency)
