"""Triton compared with KServe's own Python predictor and LitServe: the same ONNX files, the same tensors in and out.

All three servers are up all the time and are measured in turn, a call with a new text each, at several numbers of calls
in flight. Each has all cores: Triton by two threads of a call, the peers by a call on each core.
"""

import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calls import Tensors, tensor_message
from benchmarks.figures import Figure, interleaved, ratios
from benchmarks.load import Loop, http_loop
from benchmarks.peer_servers.litserve_server import PATH, body
from benchmarks.workbench import Workbench
from polytask.contract.contract import RECOMMENDER
from polytask.errors import ServingError
from serving.local.server_process import ServerProcess, server_environment
from serving.local.triton import HOST, choose_ports

BAR = 1.0
CONCURRENCIES = (1, 2, 4, 8, 16)
COMPARED_AT = 8
CALLS = 200
READY_SECONDS = 60.0
TRITON, KSERVE, LITSERVE = "Triton", "KServe predictor", "LitServe"


def measure(bench: Workbench, rounds: int) -> list[Figure]:
    """`peers`: Triton's throughput over that of each peer at eight calls in flight; the curves are in the details."""
    size = bench.size(CALLS, least=2 * COMPARED_AT)
    texts = [bench.calls.tensors(call, bench.reader) for call in bench.calls.new(size, 1)]
    version = bench.contract.model_version
    outputs = [spec.name for spec in bench.contract.answers]
    for_triton = [tensor_message(RECOMMENDER, version, call, outputs) for call in texts]
    for_kserve = [tensor_message(RECOMMENDER, "", call, outputs) for call in texts]
    for_litserve = [body(call) for call in texts]
    loops: dict[tuple[str, int], list[Loop]] = {}
    with ExitStack() as running:
        triton = bench.stack.triton.grpc_address
        kserve, litserve = start_peers(bench, running, texts[0])
        senders: dict[str, Callable[[int], Loop]] = {
            TRITON: lambda concurrency: bench.load.grpc(triton, for_triton, concurrency),
            KSERVE: lambda concurrency: bench.load.grpc(kserve, for_kserve, concurrency),
            LITSERVE: lambda concurrency: bench.load.http(litserve, for_litserve, concurrency),
        }
        for send in senders.values():
            send(COMPARED_AT)

        def rate_of(name: str, concurrency: int) -> Callable[[int], float]:
            def rate(_: int) -> float:
                loop = senders[name](concurrency)
                loops.setdefault((name, concurrency), []).append(loop)
                return loop.rate

            return rate

        found = {
            concurrency: interleaved(rounds, {name: rate_of(name, concurrency) for name in senders})
            for concurrency in CONCURRENCIES
        }
    at = found[COMPARED_AT]
    curves = {name: _curve({count: loops[name, count] for count in CONCURRENCIES}) for name in senders}
    plot(curves, bench.out / "peers.svg")
    parts = {f"against {name}": ratios(at[TRITON], at[name]) for name in (KSERVE, LITSERVE)}
    what = f"Triton's throughput over that of other servers, tensors in and out, {COMPARED_AT} calls in flight"
    return [Figure("peers", what, parts, BAR, details={"curves": curves})]


class Peer(ServerProcess):
    """A module of `benchmarks.peer_servers` in its own process; `send_request` raises while it does not respond."""

    poll_seconds = 0.2

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], logs: Path, send_request: Callable[[], Any]
    ) -> None:
        super().__init__(logs / f"{module}.log")
        self.name = name
        self._command = [sys.executable, "-m", f"benchmarks.peer_servers.{module}", *arguments]
        self._send_request = send_request

    def command(self) -> list[str]:
        """The module and its arguments."""
        return self._command

    def environment(self) -> dict[str, str]:
        """The variables of this program, without a limit of threads."""
        return {**os.environ, "PYTHONPATH": server_environment()["PYTHONPATH"]}

    def not_ready(self) -> str | None:
        """The error of a request, None where there is none."""
        try:
            self._send_request()
        except (OSError, ServingError) as error:
            return str(error)
        return None


def start_peers(bench: Workbench, running: ExitStack, call: Tensors) -> tuple[str, str]:
    """Start both peers until `running` closes: KServe's gRPC address and LitServe's URL, both of which answer."""
    kserve_http, kserve_grpc, litserve_http = choose_ports(None, None, None)
    logs = bench.out / "logs"
    bundle = str(bench.published)
    url = f"http://{HOST}:{litserve_http}{PATH}"

    def connect() -> None:
        socket.create_connection((HOST, kserve_grpc), timeout=1).close()

    options = [bundle, f"--http_port={kserve_http}", f"--grpc_port={kserve_grpc}"]
    peers = [
        Peer(KSERVE, "kserve_predictor", options, logs, connect),
        Peer(
            LITSERVE,
            "litserve_server",
            [bundle, f"--http_port={litserve_http}"],
            logs,
            lambda: http_loop(url, [body(call)], 1),
        ),
    ]
    for peer in peers:
        running.enter_context(peer)
    for peer in peers:
        peer.wait_until_ready(READY_SECONDS)
    return f"{HOST}:{kserve_grpc}", url


def _curve(loops: Mapping[int, Sequence[Loop]]) -> list[dict[str, float]]:
    return [
        {
            "concurrency": count,
            "calls_per_second": round(float(np.median([loop.rate for loop in of_count])), 2),
            "p50_ms": round(1000 * float(np.median([loop.p50 for loop in of_count])), 3),
            "p99_ms": round(1000 * float(np.median([loop.p99 for loop in of_count])), 3),
        }
        for count, of_count in loops.items()
    ]


def plot(curves: Mapping[str, list[dict[str, float]]], path: Path) -> None:
    """Throughput against p99 of every server, as SVG; the numbers at the points are the calls in flight."""
    from matplotlib.figure import Figure as Plot

    drawn = Plot(figsize=(6, 4), layout="constrained")
    place = drawn.subplots()
    for name, curve in curves.items():
        rates, waits = [point["calls_per_second"] for point in curve], [point["p99_ms"] for point in curve]
        place.plot(rates, waits, marker="o", label=name)
        for point in curve:
            place.annotate(f"{point['concurrency']:g}", (point["calls_per_second"], point["p99_ms"]))
    place.set(xlabel="calls per second", ylabel="p99, ms", yscale="log")
    place.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, metadata={"Date": None})
