"""How many retries a client may send: few while its server fails, so that they do not add to an overload.

The same rule as gRPC's `retryThrottling`: a bucket of tokens that each failed attempt takes one from and each success
gives a part of one back to; with half of the tokens or fewer nothing is retried.
"""

import threading
from functools import lru_cache

MAX_TOKENS = 10.0
TOKEN_RATIO = 0.1
# Explainers that one process sends requests to; of more of them the oldest starts with a full bucket again.
MAX_URLS = 64


class RetryBudget:
    """The tokens of one connection. Safe to use from several threads."""

    def __init__(self, max_tokens: float = MAX_TOKENS, token_ratio: float = TOKEN_RATIO) -> None:
        self._max = self._tokens = max_tokens
        self._ratio = token_ratio
        self._lock = threading.Lock()

    def failed(self) -> bool:
        """Count a failed attempt that could be retried. Returns whether it may be."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)
            return self._tokens > self._max / 2

    def succeeded(self) -> None:
        """Count an attempt that got a response from the server."""
        with self._lock:
            self._tokens = min(self._max, self._tokens + self._ratio)


@lru_cache(maxsize=MAX_URLS)
def budget_of(url: str) -> RetryBudget:
    """The one budget of this process for a server that is called without a client object."""
    return RetryBudget()
