"""One time budget for a whole request, and the error that says a part it needs is down or slow."""

import time

from polytask.errors import PolytaskError


class Unavailable(PolytaskError):
    """A service that the answer needs is down or slow: UNAVAILABLE over gRPC, 503 over REST."""


class Deadline:
    """Counts down from `seconds`; every wait of one request takes what is left."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self, waiting_for: str) -> float:
        """Seconds left, more than 0. Raises Unavailable when none are left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed(waiting_for)
        return left

    def passed(self, waiting_for: str) -> Unavailable:
        """The error for a wait that took too long."""
        return Unavailable(f"{waiting_for}: no answer within the deadline of {self.seconds:g} s")
