"""Health of the dependencies that a response needs, checked in the background and never by a request."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from polytask.errors import ContractError, PolytaskError
from serving.transformer.concurrency.deadline import Deadline, Unavailable

PROBE_SECONDS = 1.0  # between two rounds while all is well, and what a round may take
RETRY_SECONDS = 0.2  # between two rounds while a dependency is unavailable: its return must be noticed soon
STALE_SECONDS = 5.0

Probe = Callable[[Deadline], Awaitable[None]]


class Health:
    """The outcome of the last round of probes. A probe raises Unavailable or ContractError with the reason."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = probes
        self._errors: list[PolytaskError] = [Unavailable("the transformer has just started")]
        self._requested = time.monotonic()

    def check(self) -> None:
        """Raises the error of the last round; ContractError where waiting will not help."""
        age = time.monotonic() - self._requested
        if age > STALE_SECONDS:
            raise Unavailable(f"last dependency health check was {age:.0f} s ago")
        if self._errors:
            reasons = "; ".join(str(error) for error in self._errors)
            mismatch = any(isinstance(error, ContractError) for error in self._errors)
            raise ContractError(reasons) if mismatch else Unavailable(reasons)

    async def watch(self) -> None:
        """Run the checks for ever, one round at a time."""
        while True:
            await self.send_request()
            await asyncio.sleep(RETRY_SECONDS if self._errors else PROBE_SECONDS)

    async def send_request(self) -> None:
        """One round: all probes at once."""
        deadline = Deadline(PROBE_SECONDS)
        outcomes = await asyncio.gather(*(probe(deadline) for probe in self._probes), return_exceptions=True)
        errors = []
        for outcome in outcomes:
            if isinstance(outcome, PolytaskError):
                errors.append(outcome)
            elif outcome is not None:
                # Even CancelledError: a probe of the last release ends with it when a reload closes its connection.
                # Where this task itself is cancelled, `gather` raises.
                errors.append(Unavailable(f"{type(outcome).__name__}: {outcome}"))
        self._errors, self._requested = errors, time.monotonic()
