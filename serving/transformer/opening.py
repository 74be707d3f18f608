"""Opens the next releases in a thread. What is opened too late, or before another one failed, is closed."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from serving.transformer.concurrency.deadline import Deadline, Unavailable

LOAD_SECONDS = 60.0
WHAT = "the next release"


class Closable(Protocol):
    """What holds threads and connections until it is closed."""

    async def close(self) -> None:
        """Release them."""


Opened = TypeVar("Opened", bound=Closable)


class Opening(Generic[Opened]):
    """Calls `open_next`, which blocks, for at most `seconds`. Belongs to one event loop; one task at a time opens.

    A thread cannot be interrupted: until a late one ends, nothing else is opened.
    """

    def __init__(self, open_next: Callable[[], Iterable[Opened]], seconds: float) -> None:
        self._open_next = open_next
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(1, "release")
        self._late: asyncio.Task[None] | None = None

    async def open(self) -> tuple[Opened, ...]:
        """All that `open_next` opens. Raises what it raises, and Unavailable when the time is up."""
        if self._late is not None and not self._late.done():
            raise Unavailable(f"{WHAT}: an earlier one is still being opened; try again later")
        opened: list[Opened] = []

        def work() -> None:
            opened.extend(self._open_next())  # an error leaves in the list what was opened before it

        loop = asyncio.get_running_loop()
        deadline = Deadline(self._seconds)
        opening = loop.run_in_executor(self._threads, work)
        await asyncio.wait({opening}, timeout=self._seconds)
        if not opening.done():
            self._late = loop.create_task(_close_when_done(opening, opened))
            raise deadline.passed(WHAT)
        try:
            opening.result()
        except BaseException:
            await close_all(opened)
            raise
        return tuple(opened)


async def close_all(opened: Sequence[Closable]) -> None:
    """Close each of them."""
    for one in opened:
        await one.close()


async def _close_when_done(opening: "asyncio.Future[None]", opened: Sequence[Closable]) -> None:
    await asyncio.wait({opening})
    opening.exception()  # its caller got the response long ago
    await close_all(opened)
