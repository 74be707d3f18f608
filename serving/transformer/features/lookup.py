"""The look-up of features: in the event loop where the store has a client for it, in threads elsewhere."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from serving.transformer.concurrency.blocking import BoundedThreads
from serving.transformer.concurrency.deadline import Deadline
from serving.transformer.features.reader import OnlineFeatures

STORE = "feature store"
# Feast spends its time in Python, so more threads would not read faster; a few keep one slow read from holding all.
FEATURE_THREADS = 4


class Features(Protocol):
    """Where the features of users come from. `in_loop` is `read` for an event loop, where the store has that."""

    @property
    def in_loop(self) -> Callable[[Sequence[int | str], Sequence[int]], Awaitable[list[OnlineFeatures]]] | None:
        """None where only a thread can wait for the store."""

    def read(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        """Features of `users` at `moments`, in their order."""


class FeatureLookup:
    """Reads features within deadlines. Belongs to one event loop."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self._threads = BoundedThreads(FEATURE_THREADS, "features")

    async def __call__(
        self, users: Sequence[int | str], moments: Sequence[int], deadline: Deadline
    ) -> list[OnlineFeatures]:
        """Features of `users` at `moments`, in their order. Raises Unavailable when the store is down or slow."""
        if self.features.in_loop is None:
            return await self._threads.run(deadline, STORE, self.features.read, users, moments)
        async with deadline.limit(STORE):
            return await self.features.in_loop(users, moments)

    def close(self) -> None:
        """Take no more work."""
        self._threads.close()
