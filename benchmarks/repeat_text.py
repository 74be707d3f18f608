"""The gain of the text vector cache: traffic with nine of ten texts sent before, compared with traffic of new texts."""

from collections.abc import Callable, Sequence

from benchmarks.calls import UserCall
from benchmarks.figures import Figure, interleaved, ratios
from benchmarks.in_process import InProcess
from benchmarks.online_vs_ort import CALLS, CONCURRENCY, send
from benchmarks.workbench import Workbench

BAR = 4.0
KNOWN_TEXTS = 20
# One text in so many is new.
NEW_IN = 10
TEXTS_ALONE = 400


def measure(bench: Workbench, rounds: int) -> list[Figure]:
    """`repeat_text_gain`: throughput over throughput, eight calls in flight.

    The same for the models alone, without a server, is reported too: no server can gain more from its cache than that.
    """
    known = [bench.calls.query() for _ in range(KNOWN_TEXTS)]
    parts = {}
    for batch, calls in CALLS.items():
        size = bench.size(calls, least=2 * CONCURRENCY)
        new = [bench.calls.new(size, batch) for _ in range(rounds)]
        repeated = [bench.calls.mixed(size, batch, known, NEW_IN) for _ in range(rounds)]
        send(bench, bench.calls.new(size, batch, known), CONCURRENCY)
        found = interleaved(rounds, {"new": _rate(bench, new), "repeated": _rate(bench, repeated)})
        parts[f"batch {batch}"] = ratios(found["repeated"], found["new"])
    what = "throughput of the online path with nine known texts in ten over that with new texts only"
    beside = {f"models alone, batch {batch}": _alone(bench, rounds, batch) for batch in CALLS}
    return [Figure("repeat_text_gain", what, parts, BAR, beside=beside)]


def _rate(bench: Workbench, calls: Sequence[Sequence[UserCall]]) -> Callable[[int], float]:
    """The throughput of each round's calls."""
    return lambda number: send(bench, calls[number], CONCURRENCY).rate


def _alone(bench: Workbench, rounds: int, batch: int) -> list[float]:
    """The gain of a loop in this process that encodes one call in ten and has the vectors of the others.

    With several texts a call that is its best: where each call has a new text, each waits for the encoder.
    """
    size = bench.size(TEXTS_ALONE // batch, least=NEW_IN)
    loop = InProcess(bench.published, bench.contract, bench.cores, 1)

    new = [bench.calls.tensors(call, bench.reader) for call in bench.calls.new(size, batch)]
    repeated = [call if place % NEW_IN == 0 else loop.encode(call) for place, call in enumerate(new)]
    found = interleaved(rounds, {"new": lambda _: loop.loop(new).rate, "repeated": lambda _: loop.loop(repeated).rate})
    return ratios(found["repeated"], found["new"])
