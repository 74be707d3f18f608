"""How many calls are worked on at once, how many may wait, and how the server stops taking new ones."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType

from grpc_interceptor.exceptions import ResourceExhausted

from serving.transformer.concurrency.deadline import Deadline, Unavailable

DRAINING = "the transformer is shutting down"
RETRY_AFTER_SECONDS = 1


class Overloaded(ResourceExhausted):
    """Every place and the queue are taken: RESOURCE_EXHAUSTED over gRPC, 429 over REST."""


class Admission:
    """At most `max_concurrency` calls in flight and `max_queue` queued, in the order of their arrival.

    Belongs to one event loop. A call that is cancelled, wherever it is, gives its place to the next at once.
    """

    def __init__(self, max_concurrency: int, max_queue: int) -> None:
        if max_concurrency < 1 or max_queue < 0:
            raise ValueError(f"{max_concurrency} in flight, {max_queue} queued, allowed: from 1, from 0")
        self._places = asyncio.Semaphore(max_concurrency)
        self._max_queue = max_queue
        self._full = f"overloaded: {max_concurrency} requests in flight, {max_queue} queued (limits reached)"
        self.waiting = 0
        self.in_work = 0
        self.draining = False
        self._at_drain: list[Callable[[], None]] = []

    def place(self, deadline: Deadline) -> "_Place":
        """A place for one call, for as long as an `async with` block lasts.

        Entering raises Overloaded when the queue is full, Unavailable while the server drains or when no place comes
        free before the deadline. Who waits already when the draining starts was accepted, and is served.
        """
        return _Place(self, deadline)

    def check(self) -> None:
        """Raises Overloaded or Unavailable where a call that comes now would be refused at once."""
        if self.draining:
            raise Unavailable(DRAINING)
        if self._places.locked() and self.waiting >= self._max_queue:
            raise Overloaded(self._full)

    async def enter(self, deadline: Deadline) -> None:
        """See `place`."""
        self.check()
        await self._wait(deadline)
        self.in_work += 1

    def leave(self) -> None:
        """Give a place back."""
        self.in_work -= 1
        self._places.release()

    def at_drain(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the draining begins, for what is no call yet and will find no place."""
        self._at_drain.append(callback)

    async def drain(self, seconds: float) -> bool:
        """Refuse new calls from now on and wait for those accepted; whether all of them ended within `seconds`."""
        self.draining = True
        for callback in self._at_drain:
            callback()
        end = time.monotonic() + seconds
        while (left := self.waiting + self.in_work) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return not left

    async def _wait(self, deadline: Deadline) -> None:
        if not self._places.locked():
            await self._places.acquire()  # which is at once: no timer is needed
            return
        self.waiting += 1
        try:
            async with deadline.limit("a place among the calls in flight"):
                await self._places.acquire()
        finally:
            self.waiting -= 1


class _Place:
    """A class, since every call passes here and a generator's context costs several times as much."""

    __slots__ = ("_admission", "_deadline")

    def __init__(self, admission: Admission, deadline: Deadline) -> None:
        self._admission = admission
        self._deadline = deadline

    async def __aenter__(self) -> None:
        await self._admission.enter(self._deadline)

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None
    ) -> None:
        self._admission.leave()
