"""Hostile callers: they send everything of `hostile_calls` in a random order, and use up connections."""

import http.client
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from benchmarks.hostile_calls import SERVICE, TRANSFORMER, TRITON, GrpcCall, RestCall, grpc_calls, rest_calls
from benchmarks.hostile_connections import hold_connections, leave_early
from polytask.scenario import Scenario
from serving.local.stack import LocalStack

CALLERS = 2  # for each protocol
PAUSE_SECONDS = 0.05  # how often is the gateway's to limit; what one call does is the server's
CALL_SECONDS = 5.0
LEAVE_IN = 5  # every so many REST calls one is left early
Call = TypeVar("Call", RestCall, GrpcCall)

# A defect of the server, not of the caller.
DEFECTS = ("500", "INTERNAL", "UNKNOWN")


class HostileCallers:
    """Threads that attack a stack while a `with` block lasts. `counts` has server and status; `defects` the calls that
    met a defect of the transformer.
    """

    def __init__(self, stack: LocalStack, scenario: Scenario, seed: int) -> None:
        self._stack, self._seed = stack, seed
        self._rest = rest_calls(scenario)
        self._grpc = grpc_calls(scenario)
        self.counts: Counter[str] = Counter()
        self.defects: Counter[str] = Counter()
        self.broken: list[str] = []
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self._phases = 0

    def __enter__(self) -> Self:
        self._phases += 1
        self._end.clear()
        rest = urlsplit(self._stack.rest_url)
        assert rest.hostname is not None and rest.port is not None
        host, _, port = self._stack.grpc_url.rpartition(":")
        addresses = (rest.hostname, rest.port), (host, int(port))
        self._threads = [
            threading.Thread(target=self._guard, args=(work, *arguments), name=f"hostile-{work.__name__}", daemon=True)
            for work, arguments in (
                *((self._call_rest, (addresses[0], number)) for number in range(CALLERS)),
                *((self._call_grpc, (number,)) for number in range(CALLERS)),
                (self._hold, addresses),
            )
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(4 * CALL_SECONDS)
            if thread.is_alive():
                self.broken.append(f"{thread.name} hangs")

    def _guard(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001 - an error of a caller is a finding
            self.broken.append(f"{threading.current_thread().name}: {error!r}")

    def _hold(self, address: tuple[str, int], grpc_address: tuple[str, int]) -> None:
        closed = hold_connections(address, grpc_address, self._end)
        with self._lock:
            self.counts["connections that a server closed"] += closed

    def _call_rest(self, address: tuple[str, int], number: int) -> None:
        for place, call in enumerate(self._shuffled(self._rest, number)):
            if place % LEAVE_IN == 0:
                leave_early(address, call.body, 0.0 if place % 2 else 0.01)
                self._count("transformer over REST", "left", call.name)
            self._count("transformer over REST", _status(address, call), call.name)

    def _call_grpc(self, number: int) -> None:
        import grpc

        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        targets = {TRANSFORMER: self._stack.grpc_url, TRITON: self._stack.triton.grpc_address}
        channels = {name: grpc.insecure_channel(target, options) for name, target in targets.items()}
        try:
            for place, call in enumerate(self._shuffled(self._grpc, CALLERS + number)):
                future = (
                    channels[call.server]
                    .unary_unary(SERVICE + call.method)
                    .future(call.message, timeout=CALL_SECONDS, metadata=[("authorization", "x" * 1000)])
                )
                # Triton 24.10, the local one, can crash when its own client cancels: signal 11 in its gRPC server.
                if place % LEAVE_IN == 0 and call.server == TRANSFORMER:
                    future.cancel()
                error = future.exception() if not future.cancelled() else None
                code = "CANCELLED" if future.cancelled() else "OK" if error is None else future.code().name
                expected = code == "UNKNOWN" and not call.protobuf
                self._count(f"{call.server} over gRPC", code, call.name, expected)
        finally:
            for channel in channels.values():
                channel.close()

    def _shuffled(self, calls: Sequence[Call], number: int) -> Iterator[Call]:
        """The calls over and over, each round in another order, with pauses, until the end."""
        chooser = random.Random(1000 * self._seed + 10 * self._phases + number)  # noqa: S311 - no secret
        while not self._end.is_set():
            for call in chooser.sample(list(calls), len(calls)):
                if self._end.wait(PAUSE_SECONDS):
                    return
                yield call

    def _count(self, server: str, status: str, name: str, expected: bool = False) -> None:
        with self._lock:
            self.counts[f"{server}: {status}"] += 1
            if server.startswith(TRANSFORMER) and status in DEFECTS and not expected:
                self.defects[f"{name} over {server.rpartition(' ')[2]}: {status}"] += 1


def _status(address: tuple[str, int], call: RestCall) -> str:
    """The status of the response; `closed` if the server closes the connection instead, `late` without a response."""
    connection = http.client.HTTPConnection(*address, timeout=CALL_SECONDS)
    try:
        connection.request(call.method, call.path, call.body, {"content-type": "application/json", **call.headers})
        response = connection.getresponse()
        response.read()
        return str(response.status)
    except TimeoutError:
        return "late"
    except (OSError, http.client.HTTPException):
        return "closed"
    finally:
        connection.close()
