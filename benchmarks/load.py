"""Closed-loop load: a fixed number of calls is always in flight, and a new call is sent when one has completed.

The calls are bytes that were built beforehand, and the responses are not decoded, so that the client costs little. It
is a process of its own, which shares the machine with the server, and that counts against the server.
"""

import http.client
import queue
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median
from threading import local
from urllib.parse import urlsplit

import numpy as np

from polytask.errors import ServingError

METHOD = "/inference.GRPCInferenceService/ModelInfer"
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Loop:
    """Seconds from the first call to the last response, and the seconds of each call."""

    seconds: float
    latencies: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Calls per second."""
        return len(self.latencies) / self.seconds

    @property
    def p50(self) -> float:
        """Median latency in seconds."""
        return median(self.latencies)

    @property
    def p99(self) -> float:
        """The latency in seconds that 99% of the calls stay within."""
        return float(np.quantile(self.latencies, 0.99))


class LoadGenerator:
    """A process that sends calls, started once and kept."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def grpc(self, target: str, calls: Sequence[bytes], concurrency: int) -> Loop:
        """Send ModelInfer messages to `host:port`. Raises ServingError for the first error."""
        return self._pool.submit(grpc_loop, target, list(calls), concurrency).result()

    def http(self, url: str, calls: Sequence[bytes], concurrency: int) -> Loop:
        """POST bodies to `url`. Raises ServingError for the first status that is not 200."""
        return self._pool.submit(http_loop, url, list(calls), concurrency).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


def grpc_loop(target: str, calls: Sequence[bytes], concurrency: int) -> Loop:
    """See `LoadGenerator.grpc`; in this process."""
    import grpc

    answered: queue.SimpleQueue[tuple[float, float, grpc.Future]] = queue.SimpleQueue()
    with grpc.insecure_channel(target, [("grpc.max_receive_message_length", -1)]) as channel:
        grpc.channel_ready_future(channel).result(TIMEOUT_SECONDS)
        infer = channel.unary_unary(METHOD)

        def send(call: bytes) -> None:
            start = time.perf_counter()
            future = infer.future(call, timeout=TIMEOUT_SECONDS)
            future.add_done_callback(lambda done: answered.put((start, time.perf_counter(), done)))

        begin = time.perf_counter()
        for call in calls[:concurrency]:
            send(call)
        latencies = []
        for position in range(len(calls)):
            start, end, future = answered.get()
            if future.code() is not grpc.StatusCode.OK:
                raise ServingError(f"{target}: {future.code().name}: {future.details()}")
            latencies.append(end - start)
            if position + concurrency < len(calls):
                send(calls[position + concurrency])
        return Loop(time.perf_counter() - begin, tuple(latencies))


def http_loop(url: str, calls: Sequence[bytes], concurrency: int) -> Loop:
    """See `LoadGenerator.http`; in this process, one thread with a connection of its own per call in flight."""
    place = urlsplit(url)
    mine = local()

    def send(call: bytes) -> float:
        if not hasattr(mine, "connection"):
            mine.connection = http.client.HTTPConnection(place.netloc, timeout=TIMEOUT_SECONDS)
        start = time.perf_counter()
        mine.connection.request("POST", place.path, call, {"Content-Type": "application/json"})
        answer = mine.connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise ServingError(f"{url}: {answer.status}: {content[:200]!r}")
        return time.perf_counter() - start

    with ThreadPoolExecutor(concurrency) as threads:
        begin = time.perf_counter()
        latencies = tuple(threads.map(send, calls))
        return Loop(time.perf_counter() - begin, latencies)
