"""One time budget for a whole request, and the error that says a part it needs is down or slow."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from polytask.errors import PolytaskError

# Seconds that the caller of this task gave its call, None where it named no deadline.
CLIENT_SECONDS: ContextVar[float | None] = ContextVar("client_seconds", default=None)


class Unavailable(PolytaskError):
    """A service that the answer needs is down or slow: UNAVAILABLE over gRPC, 503 over REST."""


class Deadline:
    """Counts down from `seconds`; every wait of one request takes what is left."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @classmethod
    def of_call(cls, seconds: float) -> "Deadline":
        """`seconds` from now, or what the caller gave its call where that is less."""
        given = CLIENT_SECONDS.get()
        return cls(seconds if given is None else min(seconds, given))

    def left(self) -> float:
        """Seconds left, below 0 once it has passed."""
        return self._end - time.monotonic()

    def remaining(self, waiting_for: str) -> float:
        """Seconds left, more than 0. Raises Unavailable when none are left."""
        left = self.left()
        if left <= 0:
            raise self.passed(waiting_for)
        return left

    @asynccontextmanager
    async def limit(self, waiting_for: str) -> AsyncIterator[None]:
        """End what is awaited inside the block when the deadline passes, by Unavailable."""
        try:
            async with asyncio.timeout(self.remaining(waiting_for)):
                yield
        except TimeoutError as error:
            raise self.passed(waiting_for) from error

    def passed(self, waiting_for: str) -> Unavailable:
        """The error for a wait that took too long."""
        return Unavailable(f"{waiting_for}: no answer within the deadline of {self.seconds:g} s")
