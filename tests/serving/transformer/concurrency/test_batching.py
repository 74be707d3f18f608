"""Queued calls run in one batch; no call gets another's rows, pays for another, or fails another."""

import asyncio

import numpy as np
import pytest

from serving.transformer.concurrency.batching import ENOUGH_ROWS, BatchedPredictor, Batcher
from serving.transformer.concurrency.deadline import Deadline, Unavailable

INSTANCES = 2


class Doubling:
    """Doubles the jobs of a batch once it is let go, and remembers the batches."""

    def __init__(self):
        self.batches, self.deadlines = [], []
        self.gate = asyncio.Event()
        self.error = None

    async def __call__(self, jobs, deadline):
        self.batches.append(list(jobs))
        self.deadlines.append(deadline)
        async with asyncio.timeout(deadline.remaining("gate")):
            await self.gate.wait()
        if self.error:
            raise self.error
        return [2 * job for job in jobs]


async def ask_all(batcher, jobs, rows=1, seconds=5.0):
    tasks = [asyncio.create_task(batcher(job, rows, Deadline(seconds))) for job in jobs]
    await asyncio.sleep(0.01)
    return tasks


def test_what_waits_becomes_the_next_batch():
    async def run():
        work = Doubling()
        tasks = await ask_all(Batcher(work, "work"), [1, 2, 3, 4])
        assert work.batches == [[1]]  # the first does not wait for others
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
        assert work.batches == [[1], [2, 3, 4]]

    asyncio.run(run())


def test_a_batch_has_a_largest_size_and_so_has_what_is_under_way():
    async def run():
        work = Doubling()
        tasks = await ask_all(Batcher(work, "work", in_flight=2, most_rows=4), [1, 2, 3, 4, 5, 6], rows=2)
        assert work.batches == [[1], [2]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10, 12]
        assert work.batches == [[1], [2], [3, 4], [5, 6]]

    asyncio.run(run())


def test_beside_a_batch_another_starts_once_it_is_large_enough():
    async def run():
        work = Doubling()
        batcher = Batcher(work, "work", in_flight=2, enough_rows=4)
        tasks = await ask_all(batcher, [1, 2, 3, 4])
        assert work.batches == [[1]]
        tasks += await ask_all(batcher, [5])
        assert work.batches == [[1], [2, 3, 4, 5]]
        tasks += await ask_all(batcher, [6, 7], rows=4)
        assert len(work.batches) == 2  # both places are taken
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10, 12, 14]
        assert work.batches[2:] == [[6, 7]]

    asyncio.run(run())


def test_who_has_given_up_does_not_count_towards_a_batch():
    async def run():
        work = Doubling()
        batcher = Batcher(work, "work", in_flight=2, enough_rows=4)
        tasks = await ask_all(batcher, [1, 2, 3, 4])
        tasks.pop().cancel()
        tasks += await ask_all(batcher, [5])
        assert work.batches == [[1]]
        work.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6, 10]

    asyncio.run(run())


def test_a_job_that_is_larger_than_a_batch_runs_alone():
    async def run():
        work = Doubling()
        work.gate.set()
        assert await Batcher(work, "work", most_rows=4)(7, 9, Deadline(5)) == 14

    asyncio.run(run())


def test_a_job_leaves_at_its_own_deadline_and_takes_nothing_with_it():
    async def run():
        work = Doubling()
        batcher = Batcher(work, "work")
        first, patient = await ask_all(batcher, [1, 2])
        hasty = asyncio.create_task(batcher(3, 1, Deadline(0.02)))
        with pytest.raises(Unavailable, match=r"work: no response within the deadline of 0\.02 s"):
            await hasty
        cancelled = (await ask_all(batcher, [4]))[0]
        cancelled.cancel()
        await asyncio.sleep(0)
        work.gate.set()
        assert await asyncio.gather(first, patient) == [2, 4]
        assert work.batches == [[1], [2]]  # who left is not worked for

    asyncio.run(run())


def test_a_batch_runs_on_its_latest_deadline():
    async def run():
        work = Doubling()
        batcher = Batcher(work, "work")
        first = (await ask_all(batcher, [0]))[0]
        deadlines = [Deadline(seconds) for seconds in (2, 5, 3)]
        others = [asyncio.create_task(batcher(job, 1, deadline)) for job, deadline in enumerate(deadlines)]
        await asyncio.sleep(0.01)
        work.gate.set()
        assert await asyncio.gather(first, *others) == [0, 0, 2, 4]
        assert work.deadlines[1] is deadlines[1]

    asyncio.run(run())


def test_an_error_is_that_of_its_batch_alone():
    async def run():
        work = Doubling()
        batcher = Batcher(work, "work")
        tasks = await ask_all(batcher, [1, 2, 3])
        work.error = Unavailable("away")
        work.gate.set()
        for task in tasks[:1]:
            with pytest.raises(Unavailable, match="away"):
                await task
        await asyncio.gather(*tasks, return_exceptions=True)
        work.error = None
        assert await batcher(5, 1, Deadline(5)) == 10

    asyncio.run(run())


class Summing:
    """A model: `sum` of the rows, and `first` of each. Remembers the sizes of its calls."""

    def __init__(self):
        self.calls = []

    async def infer(self, model, inputs, outputs, deadline):
        await asyncio.sleep(0.01)
        self.calls.append((model, len(inputs["x"]), list(outputs)))
        made = {"sum": inputs["x"].sum(axis=1, keepdims=True), "first": inputs["x"][:, :1]}
        return {name: made[name] for name in outputs}


def test_every_call_gets_its_own_rows_and_outputs():
    async def run():
        model = Summing()
        predictor = BatchedPredictor(model, INSTANCES)

        def call(start, rows, outputs, width=2):
            values = np.arange(start, start + rows * width, dtype=np.int64).reshape(rows, width)
            return values, outputs, predictor.infer("m", {"x": values}, outputs, Deadline(5))

        calls = [call(0, 1, ["sum"]), call(10, 2, ["first"]), call(20, 3, ["sum", "first"]), call(30, 1, ["sum"], 3)]
        answers = await asyncio.gather(*(waiting for _, _, waiting in calls))
        for (values, outputs, _), answer in zip(calls, answers, strict=True):
            right = {"sum": values.sum(axis=1, keepdims=True), "first": values[:, :1]}
            assert list(answer) == outputs
            for name in outputs:
                np.testing.assert_array_equal(answer[name], right[name])
        # Another shape is another batch; the two that waited for the first went together, with all they wanted.
        assert sorted(model.calls) == [("m", 1, ["sum"]), ("m", 1, ["sum"]), ("m", 5, ["first", "sum"])]

    asyncio.run(run())


class Waiting:
    """A model that never returns, and counts the calls to it."""

    def __init__(self):
        self.calls = 0

    async def infer(self, model, inputs, outputs, deadline):
        self.calls += 1
        await asyncio.sleep(60)


def test_a_large_call_does_not_wait_for_another_one_and_small_ones_do():
    async def run(rows):
        model = Waiting()
        predictor = BatchedPredictor(model, INSTANCES)
        values = np.ones((rows, 2), dtype=np.int64)
        calls = [asyncio.create_task(predictor.infer("m", {"x": values}, ["sum"], Deadline(5))) for _ in range(3)]
        await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
        return model.calls

    assert asyncio.run(run(ENOUGH_ROWS)) == INSTANCES
    assert asyncio.run(run(1)) == 1


def test_calls_with_filters_share_a_batch_of_their_own():
    """Their masks are as wide as the catalogue, and would be sent for all other calls too."""

    async def run():
        model = Summing()
        predictor = BatchedPredictor(model, INSTANCES)
        widths = [1, 1, 1, 9, 9, 9]
        await asyncio.gather(
            *(predictor.infer("m", {"x": np.ones((1, width), np.int64)}, ["sum"], Deadline(5)) for width in widths)
        )
        assert sorted(rows for _, rows, _ in model.calls) == [1, 1, 2, 2]

    asyncio.run(run())
