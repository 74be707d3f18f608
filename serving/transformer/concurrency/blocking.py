"""Blocking work in a few threads: what waits, waits no longer than its call, and what comes late is dropped."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from serving.transformer.concurrency.deadline import Deadline, Unavailable

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
        self._closed = False

    async def run(self, deadline: Deadline, what: str, function: Callable[..., Result], *arguments: Any) -> Result:
        """What the function returns or raises.

        Raises DeadlineExceeded when the deadline passes first, Unavailable after `close`.
        """
        loop = asyncio.get_running_loop()
        async with deadline.limit(what):
            await self._places.acquire()
            if self._closed:
                self._places.release()
                raise Unavailable(f"{what}: its threads ({self._name}) were closed")
            result: asyncio.Future[Result] = loop.create_future()
            self._threads.submit(self._work, loop, result, function, arguments)
            return await result

    def close(self) -> None:
        """Take no more work; threads that still work are left to end by themselves."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        result: "asyncio.Future[Result]",
        function: Callable[..., Result],
        arguments: tuple[Any, ...],
    ) -> None:
        """In a thread. The event loop is woken once: for the result, and to give the place to the next."""
        try:
            outcome, error = function(*arguments), None
        except BaseException as raised:  # noqa: BLE001 - the caller's to handle, in its own thread
            outcome, error = None, raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._ended, result, outcome, error)

    def _ended(self, result: "asyncio.Future[Any]", outcome: Any, error: BaseException | None) -> None:
        self._places.release()
        if result.done():  # the caller has given up
            return
        if error is None:
            result.set_result(outcome)
        else:
            result.set_exception(error)


def within(deadline: Deadline, what: str, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises; DeadlineExceeded when it takes longer.

    It runs in a thread, since not every client library has time-outs; one that hangs does not keep the process from
    ending.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - the caller's to handle, in its own thread
            errors.append(error)

    thread = threading.Thread(target=run, name=what, daemon=True)
    thread.start()
    thread.join(deadline.remaining(what))
    if errors:
        raise errors[0]
    if not results:
        raise deadline.passed(what)
    return results[0]
