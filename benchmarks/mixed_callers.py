"""Callers that send a mixed load over gRPC and REST until they are stopped, and the outcomes of their calls."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from benchmarks.load import METHOD
from benchmarks.mixed_calls import Valid, differences, malformed_messages
from benchmarks.mixed_channels import Channel, Ended, GrpcChannel, RestChannel, in_json
from polytask.contract.names import DEGRADED
from polytask.scenario import Scenario
from serving.local.stack import LocalStack

MALFORMED, CANCELLED, VALID = "malformed", "cancelled", "valid"
GRPC, REST = "gRPC", "REST"
# Every third caller speaks REST.
REST_IN = 3
SHARES = {MALFORMED: 0.1, CANCELLED: 0.1}
LATEST_CANCEL_SECONDS = 0.02
# Codes by which a call is refused that may succeed later.
TRY_AGAIN = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
BACK_OFF_SECONDS = 0.05
# Beyond the server's deadline: two busy cores, and the client itself.
HANG_SECONDS = 5.0
MEMORY_GROWTH = 0.05
SHOWN = 20


@dataclass
class Outcome:
    """Counts by kind of call and code, and everything that must not be."""

    counts: dict[str, dict[str, int]]
    wrong: list[str]
    unexpected: list[str]
    outages: list[str]
    slowest_seconds: float
    memory_growth: dict[str, float] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)  # valid calls with a correct response, by protocol

    def failures(self) -> list[str]:
        """What did not hold; empty where all did."""
        found = [f"wrong response: {text}" for text in self.wrong[:SHOWN]]
        found += [f"unexpected: {text}" for text in self.unexpected[:SHOWN]]
        found += [
            f"memory of {name} increased by {share:.1%}, at most {MEMORY_GROWTH:.0%} is allowed"
            for name, share in self.memory_growth.items()
            if share > MEMORY_GROWTH
        ]
        if not self.counts.get(VALID, {}).get("OK"):
            found.append("no valid call succeeded")
        found += [f"no valid call succeeded over {name}" for name, count in self.answered.items() if not count]
        return found


def send_request(target: str, message: bytes, seconds: float = 30.0) -> bytes:
    """Send one call and return its response as bytes."""
    import grpc

    with grpc.insecure_channel(target) as channel:
        answer: bytes = channel.unary_unary(METHOD)(message, timeout=seconds, wait_for_ready=True)
        return answer


class Callers:
    """`count` threads that call a stack while a `with` block lasts."""

    def __init__(self, stack: LocalStack, scenario: Scenario, valid: Sequence[Valid], count: int, seed: int) -> None:
        self._stack, self._scenario, self._valid = stack, scenario, valid
        self._malformed = [(name, one) for name, those in malformed_messages(scenario).items() for one in those]
        self._counts: dict[str, Counter[str]] = {kind: Counter() for kind in (VALID, MALFORMED, CANCELLED)}
        self._wrong: list[str] = []
        self._unexpected: list[str] = []
        self._outages: list[str] = []
        self._answered = {GRPC: 0, REST: 0}
        self._slowest = 0.0
        self._away = 0.0  # a refusal of a call that was sent before this moment is no surprise
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(seed * 1000 + number, REST if number % REST_IN == 0 else GRPC),
                name=f"caller-{number}",
                daemon=True,
            )
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(self._stack.deadline_seconds + 2 * HANG_SECONDS)
            if thread.is_alive():
                self._unexpected.append(f"{thread.name} hangs")

    @contextmanager
    def outage(self, what: str, grace_seconds: float) -> Iterator[None]:
        """Refusals are no surprise while the block lasts, and for some seconds more."""
        self._away = float("inf")
        try:
            yield
        finally:
            self._away = time.monotonic() + grace_seconds
            self._outages.append(what)

    def outcome(self, memory_growth: dict[str, float]) -> Outcome:
        """What became of all calls."""
        counts = {kind: dict(counter.most_common()) for kind, counter in self._counts.items()}
        return Outcome(
            counts, self._wrong, self._unexpected, self._outages, self._slowest, memory_growth, dict(self._answered)
        )

    def _run(self, seed: int, protocol: str) -> None:
        chooser = random.Random(seed)  # noqa: S311 - which call comes next is no secret
        channel: Channel = RestChannel(self._stack.rest_url) if protocol == REST else GrpcChannel(self._stack.grpc_url)
        malformed = [(name, one) for name, one in self._malformed if protocol == GRPC or in_json(one)]
        try:
            while not self._end.is_set():
                drawn = chooser.random()
                if drawn < SHARES[MALFORMED]:
                    self._send_malformed(channel, *chooser.choice(malformed))
                elif drawn < sum(SHARES.values()):
                    after = chooser.random() * LATEST_CANCEL_SECONDS
                    self._send_and_cancel(channel, chooser.choice(self._valid), after)
                else:
                    self._send_valid(channel, chooser.choice(self._valid), protocol)
        except Exception as error:  # noqa: BLE001 - an error of a caller is a finding
            self._note(self._unexpected, f"{threading.current_thread().name} over {protocol}: {error!r}")
        finally:
            channel.close()

    def _send_valid(self, channel: Channel, call: Valid, protocol: str) -> None:
        sent = time.monotonic()
        code, text, answer = self._call(channel, call.message, VALID)
        if code == "OK" and answer[DEGRADED].any():  # made without the feature store, and so not as the reference
            with self._lock:
                self._counts[VALID]["OK, degraded"] += 1
            if sent > self._away:
                self._note(self._unexpected, f"valid call over {protocol}: degraded while all services were available")
        elif code == "OK":
            with self._lock:
                self._answered[protocol] += 1
            found = differences(self._scenario, answer, call.reference)
            if found:
                self._note(self._wrong, f"users {call.users} over {protocol}: {'; '.join(found)}")
        elif code in TRY_AGAIN:
            time.sleep(BACK_OFF_SECONDS)
        else:
            self._note(self._unexpected, f"valid call over {protocol}: {code}: {text}")

    def _send_malformed(self, channel: Channel, name: str, message: bytes) -> None:
        code, text, _ = self._call(channel, message, MALFORMED)
        if code == "OK" or (code not in TRY_AGAIN and (code != "INVALID_ARGUMENT" or name not in text)):
            self._note(self._unexpected, f"malformed {name}: {code}: {text}")

    def _send_and_cancel(self, channel: Channel, call: Valid, after_seconds: float) -> None:
        limit = self._stack.deadline_seconds + HANG_SECONDS
        code, text, _ = channel.leave(call.message, after_seconds, limit)
        with self._lock:
            self._counts[CANCELLED][code] += 1
        if code not in ("CANCELLED", "OK", *TRY_AGAIN):
            self._note(self._unexpected, f"cancelled call: {code}: {text}")

    def _call(self, channel: Channel, message: bytes, kind: str) -> Ended:
        start, limit = time.monotonic(), self._stack.deadline_seconds + HANG_SECONDS
        code, text, answer = channel.call(message, limit)
        took = time.monotonic() - start
        with self._lock:
            self._counts[kind][code] += 1
            self._slowest = max(self._slowest, took)
        if took >= limit:
            self._note(self._unexpected, f"{kind} call: no response within {limit:g} s")
        elif code in TRY_AGAIN and code != "RESOURCE_EXHAUSTED" and start > self._away:
            self._note(self._unexpected, f"{kind} call: {code} while all services were available: {text}")
        return code, text, answer

    def _note(self, place: list[str], text: str) -> None:
        with self._lock:
            place.append(text)
