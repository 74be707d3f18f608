"""Blocking work in a few threads: what waits, waits no longer than its call, and what comes late is dropped."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from serving.transformer.deadline import Deadline

Result = TypeVar("Result")


class BoundedThreads:
    """Runs functions in at most `count` threads. Belongs to one event loop.

    A thread cannot be interrupted: one that hangs keeps its place after its caller has given up, so that there are
    never more than `count` of them and nothing piles up behind them but callers, who leave at their deadlines.
    """

    def __init__(self, count: int, name: str) -> None:
        self._name = name
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._places = asyncio.Semaphore(count)

    async def run(self, deadline: Deadline, what: str, function: Callable[..., Result], *arguments: Any) -> Result:
        """What the function returns or raises. Raises Unavailable when the deadline passes first."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline.remaining(what)):
                await self._places.acquire()
                future = self._threads.submit(function, *arguments)
                future.add_done_callback(lambda done: self._free(loop, done))
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise deadline.passed(what) from error

    def close(self) -> None:
        """Take no more work; threads that still work are left to end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _free(self, loop: asyncio.AbstractEventLoop, done: "Future[Any]") -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._places.release)
