"""The switch to the next release: callers that leave, opens that are late, and opens that fail half-way."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from polytask.errors import ContractError
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.release import Releases

SECONDS = 10.0


class FakeRelease:
    """A release whose predictor is ready, or raises the reason why it is not."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self.calls = 0
        self.closed = 0
        self.begun = 0
        self.bundle = SimpleNamespace(checksum=name)

        async def ready(deadline: Deadline) -> None:
            if error is not None:
                raise error

        self.predictor = SimpleNamespace(pods=1, ready=ready)

    def begin(self) -> None:
        self.begun += 1

    async def unused(self, seconds: float) -> None:
        """No call uses it."""

    async def close(self) -> None:
        self.closed += 1


class Gate:
    """Opens its releases after `let` is set; `started` counts its calls."""

    def __init__(self, *following: FakeRelease) -> None:
        self.following = list(following)
        self.let = threading.Event()
        self.started = 0

    def __call__(self) -> Iterator[Any]:
        self.started += 1
        assert self.let.wait(SECONDS)
        yield self.following.pop(0)


def releases(
    open_next: Callable[[], Iterator[Any]], load_seconds: float = SECONDS
) -> tuple[FakeRelease, Releases[Any]]:
    first: Any = FakeRelease("first")
    return first, Releases([first], open_next, 1.0, load_seconds)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():
            await asyncio.sleep(0.005)


def test_a_caller_that_leaves_does_not_abort_the_switch():
    async def run() -> None:
        following = FakeRelease("following")
        gate = Gate(following)
        first, served = releases(gate)
        caller = asyncio.ensure_future(served.switch())
        await until(lambda: gate.started == 1)
        caller.cancel()
        await asyncio.wait({caller})
        assert caller.cancelled() and served.current is first
        gate.let.set()
        await until(lambda: first.closed == 1)
        assert served.current is following
        assert (following.begun, following.closed) == (1, 0)

    asyncio.run(run())


def test_callers_that_come_meanwhile_share_one_more_switch():
    async def run() -> None:
        gate = Gate(FakeRelease("second"), FakeRelease("third"))
        _, served = releases(gate)
        one = asyncio.ensure_future(served.switch())
        await until(lambda: gate.started == 1)
        others = [asyncio.ensure_future(served.switch()) for _ in range(50)]
        await asyncio.sleep(0)
        gate.let.set()
        await asyncio.gather(one, *others)
        assert gate.started == 2
        assert served.current.name == "third"

    asyncio.run(run())


def test_a_release_that_opens_after_the_deadline_is_closed():
    async def run() -> None:
        late, following = FakeRelease("late"), FakeRelease("following")
        gate = Gate(late, following)
        first, served = releases(gate, load_seconds=0.05)
        with pytest.raises(Unavailable, match=r"the next release: no response within the deadline of 0\.05 s"):
            await served.switch()
        # Its thread cannot be interrupted: nothing piles up behind it.
        with pytest.raises(Unavailable, match="an earlier one is still being opened"):
            await served.switch()
        assert gate.started == 1
        gate.let.set()
        await until(lambda: late.closed == 1)
        assert served.current is first and late.begun == 0

        async def served_now() -> bool:
            try:
                await served.switch()
            except Unavailable:
                return False
            return True

        async with asyncio.timeout(SECONDS):
            while not await served_now():
                await asyncio.sleep(0.01)
        assert served.current is following

    asyncio.run(run())


def test_what_was_opened_before_another_failed_is_closed():
    async def run() -> None:
        opened = FakeRelease("opened")

        def open_next() -> Iterator[Any]:
            yield opened
            raise ContractError("the second: is missing")

        first, served = releases(open_next)
        with pytest.raises(ContractError, match="the second: is missing"):
            await served.switch()
        assert opened.closed == 1 and served.current is first

    asyncio.run(run())


def test_a_release_without_a_predictor_is_closed_and_not_served():
    async def run() -> None:
        following = FakeRelease("following", Unavailable("predictor: no pod is ready"))
        gate = Gate(following)
        gate.let.set()
        first, served = releases(gate)
        with pytest.raises(Unavailable, match="no pod is ready"):
            await served.switch()
        assert following.closed == 1 and served.current is first and first.closed == 0

    asyncio.run(run())
