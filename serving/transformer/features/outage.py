"""Whether the feature store is known to be unavailable: a circuit breaker that requests read and probes close.

While it is open no request waits for the store. The probes that readiness runs in the background close it again, so
that no request is spent on finding out.
"""

import logging
import time

LOGGER = logging.getLogger(__name__)

# So many reads in a row that fail open it: one slow read is no outage.
FAILURES = 3


class FeatureOutage:
    """Belongs to one event loop. Logs one line when an outage begins and one when it ends."""

    def __init__(self) -> None:
        self._failures = 0
        self._began: float | None = None

    @property
    def known(self) -> bool:
        """Whether requests are served without the store."""
        return self._began is not None

    def read_failed(self, error: Exception) -> None:
        """Count a read that failed or took longer than its share of the deadline."""
        self._failures += 1
        if self._failures >= FAILURES:
            self.begin(error)

    def read_succeeded(self) -> None:
        """Start counting failures from 0. An outage ends by a probe alone: this read may have begun before it."""
        self._failures = 0

    def begin(self, error: Exception) -> None:
        """The store is unavailable, as `error` describes."""
        if self._began is None:
            self._began = time.monotonic()
            LOGGER.error("features: unavailable, responses are degraded until the store is available: %s", error)

    def end(self) -> None:
        """A probe succeeded in time."""
        self._failures = 0
        if self._began is not None:
            LOGGER.warning("features: available again after %.1f s", time.monotonic() - self._began)
            self._began = None
