import asyncio
import threading

import pytest

from serving.transformer.concurrency.blocking import BoundedThreads
from serving.transformer.concurrency.deadline import Deadline, Unavailable


def test_threads_that_hang_keep_their_places_and_nothing_starts_behind_them():
    started, go_on = [], threading.Event()

    def hang(name):
        started.append(name)
        assert go_on.wait(10)
        return name

    async def run():
        threads = BoundedThreads(2, "test")
        try:
            for name in ("one", "two", "three", "four"):
                with pytest.raises(Unavailable, match="store: no response within the deadline"):
                    await threads.run(Deadline(0.05), "store", hang, name)
            assert started == ["one", "two"]
            go_on.set()
            assert await threads.run(Deadline(5), "store", hang, "five") == "five"
            assert started == ["one", "two", "five"]
        finally:
            go_on.set()
            threads.close()

    asyncio.run(run())


def test_after_the_end_it_is_unavailable():
    """Not RuntimeError, which is what the threads raise: a request would get 500."""

    async def run():
        threads = BoundedThreads(1, "test")
        threads.close()
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"store: its threads \(test\) were closed"):
                await threads.run(Deadline(5), "store", lambda: 1)

    asyncio.run(run())


def test_an_error_of_the_function_reaches_the_caller_and_frees_the_place():
    async def run():
        threads = BoundedThreads(1, "test")
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await threads.run(Deadline(5), "store", lambda: 1 / 0)
        threads.close()

    asyncio.run(run())
