"""One time budget for a whole request, and the errors for a service that it needs and that is unavailable or slow."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from polytask.errors import PolytaskError

# Seconds that the caller of this task gave its call, None where it named no deadline.
CLIENT_SECONDS: ContextVar[float | None] = ContextVar("client_seconds", default=None)


class Unavailable(PolytaskError):
    """A service that the response needs is unavailable: UNAVAILABLE over gRPC, 503 over REST.

    `retry_after` is the number of seconds after which a retry makes sense, where the reason is an overload.
    """

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(Unavailable):
    """The time of a request is over: DEADLINE_EXCEEDED over gRPC, 504 over REST. It must not be retried: the time is
    spent, and a server that is too slow would get the same work again.
    """


class Deadline:
    """Counts down from `seconds`; every wait of one request takes what is left."""

    def __init__(self, seconds: float, by_caller: bool = False) -> None:
        """`by_caller`: it is the caller's own deadline, which is shorter than that of the server."""
        self.seconds = seconds
        self.by_caller = by_caller
        self._end = time.monotonic() + seconds

    @classmethod
    def of_call(cls, seconds: float) -> "Deadline":
        """`seconds` from now, or what the caller gave its call where that is less."""
        given = CLIENT_SECONDS.get()
        return cls(seconds) if given is None or given >= seconds else cls(given, by_caller=True)

    def share(self, part: float) -> "Deadline":
        """A deadline of `part` (0 to 1) of the seconds left, for a service that a response can do without."""
        return Deadline(max(0.0, part * self.left()))

    def cut_short(self, error: BaseException) -> bool:
        """Whether an error is that the caller's own deadline passed, which is no failure of what was waited for."""
        return self.by_caller and isinstance(error, DeadlineExceeded)

    def left(self) -> float:
        """Seconds left, below 0 once it has passed."""
        return self._end - time.monotonic()

    def remaining(self, waiting_for: str) -> float:
        """Seconds left, more than 0. Raises DeadlineExceeded when none are left."""
        left = self.left()
        if left <= 0:
            raise self.passed(waiting_for)
        return left

    @asynccontextmanager
    async def limit(self, waiting_for: str) -> AsyncIterator[None]:
        """End what is awaited inside the block when the deadline passes, by DeadlineExceeded."""
        try:
            async with asyncio.timeout(self.remaining(waiting_for)):
                yield
        except TimeoutError as error:
            raise self.passed(waiting_for) from error

    def passed(self, waiting_for: str) -> DeadlineExceeded:
        """The error for a wait that took too long."""
        return DeadlineExceeded(f"{waiting_for}: no response within the deadline of {self.seconds:g} s")
