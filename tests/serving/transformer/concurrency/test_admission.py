import asyncio

import pytest

from serving.transformer.concurrency.admission import Admission, Overloaded
from serving.transformer.concurrency.deadline import CLIENT_SECONDS, Deadline, Unavailable


class Work:
    """Calls that hold their places until they are released."""

    def __init__(self, admission):
        self.admission, self.end, self.order = admission, asyncio.Event(), []

    async def call(self, name, seconds=5.0):
        async with self.admission.place(Deadline(seconds)):
            self.order.append(name)
            await self.end.wait()

    async def start(self, *names):
        tasks = [asyncio.create_task(self.call(name)) for name in names]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return tasks


def test_what_fits_neither_in_work_nor_in_the_queue_is_refused_at_once():
    async def run():
        work = Work(Admission(2, 1))
        tasks = await work.start("one", "two", "three")
        assert (work.order, work.admission.in_work, work.admission.waiting) == (["one", "two"], 2, 1)
        with pytest.raises(Overloaded, match="2 requests in flight, 1 queued"):
            await work.call("four")
        work.end.set()
        await asyncio.gather(*tasks)
        assert (work.order, work.admission.in_work) == (["one", "two", "three"], 0)

    asyncio.run(run())


def test_a_wait_ends_at_the_deadline_of_the_call():
    async def run():
        work = Work(Admission(1, 1))
        (task,) = await work.start("one")
        with pytest.raises(Unavailable, match="a place among the calls in flight: no response within"):
            await work.call("two", seconds=0.05)
        assert work.admission.waiting == 0
        work.end.set()
        await task

    asyncio.run(run())


@pytest.mark.parametrize("cancelled", ["one", "two"])
def test_a_cancelled_call_gives_its_place_to_the_next(cancelled):
    async def run():
        work = Work(Admission(1, 2))
        tasks = dict(zip(["one", "two", "three"], await work.start("one", "two", "three"), strict=True))
        tasks.pop(cancelled).cancel()
        await asyncio.sleep(0.01)
        assert work.admission.in_work == 1
        assert work.admission.waiting == 1
        work.end.set()
        await asyncio.gather(*tasks.values())
        assert work.order[-1] == "three"
        assert (work.admission.in_work, work.admission.waiting) == (0, 0)

    asyncio.run(run())


def test_draining_serves_what_was_accepted_and_refuses_the_rest():
    async def run():
        work = Work(Admission(1, 1))
        tasks = await work.start("one", "waits")
        assert not await work.admission.drain(0.05)
        with pytest.raises(Unavailable, match="shutting down"):
            await work.call("late")
        work.end.set()
        assert await work.admission.drain(5)
        assert all(task.done() for task in tasks)
        assert work.order == ["one", "waits"]

    asyncio.run(run())


def test_a_client_shortens_the_deadline_and_never_lengthens_it():
    assert Deadline.of_call(2).seconds == 2
    for given, taken in ((0.5, 0.5), (9, 2)):
        token = CLIENT_SECONDS.set(given)
        assert Deadline.of_call(2).seconds == taken
        CLIENT_SECONDS.reset(token)
