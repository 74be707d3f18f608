"""A good job in a batch with a hostile one gets the result that it gets alone."""

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.transformer.concurrency.batching import BatchedPredictor, Batcher
from serving.transformer.concurrency.deadline import Deadline, Unavailable

HOSTILE = "hostile"


class Work:
    """Doubles numbers; any hostile job fails its whole list. The first list waits, so that the others share one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or ValueError("a value that cannot be encoded")
        self.gate = asyncio.Event()
        self.batches: list[list[Any]] = []

    async def __call__(self, jobs: Any, deadline: Deadline) -> list[Any]:
        self.batches.append(list(jobs))
        if len(self.batches) == 1:
            await self.gate.wait()
        if HOSTILE in jobs:
            raise self.error
        return [2 * job for job in jobs]


async def outcomes(work: Work, jobs: list[Any], reruns: list[int] | None = None, seconds: float = 5.0) -> list[Any]:
    batcher: Batcher[Any, Any] = Batcher(work, "work", rerun=lambda: (reruns if reruns is not None else []).append(1))
    tasks = [asyncio.create_task(batcher(job, 1, Deadline(seconds))) for job in [0, *jobs]]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.gate.set()
    return (await asyncio.gather(*tasks, return_exceptions=True))[1:]


@settings(max_examples=50, deadline=None)
@given(jobs=st.lists(st.one_of(st.integers(), st.just(HOSTILE)), min_size=1, max_size=8))
def test_only_hostile_jobs_fail(jobs: list[Any]):
    work = Work()
    got = asyncio.run(outcomes(work, jobs))
    for job, result in zip(jobs, got, strict=True):
        assert result is work.error if job == HOSTILE else result == 2 * job


def test_a_batch_is_run_again_once_and_counted_once():
    work, reruns = Work(), []
    asyncio.run(outcomes(work, [1, HOSTILE, 3], reruns))
    assert work.batches == [[0], [1, HOSTILE, 3], [1], [HOSTILE], [3]]
    assert len(reruns) == 1


def test_a_batch_of_one_is_not_run_again():
    work, reruns = Work(), []
    asyncio.run(outcomes(work, [HOSTILE], reruns))
    assert work.batches == [[0], [HOSTILE]]
    assert not reruns


def test_an_unavailable_dependency_is_everybodys():
    work, reruns = Work(Unavailable("gone")), []
    assert asyncio.run(outcomes(work, [1, HOSTILE], reruns)) == [work.error, work.error]
    assert work.batches == [[0], [1, HOSTILE]]
    assert not reruns


def test_the_second_run_ends_at_each_jobs_own_deadline():
    """The one that hangs when it is alone takes no more than its own time."""

    async def run() -> None:
        deadlines = []

        async def work(jobs: Any, deadline: Deadline) -> list[Any]:
            if len(jobs) > 1:
                raise ValueError("a value that cannot be encoded")
            deadlines.append(deadline)
            if jobs == [HOSTILE]:
                async with deadline.limit("work"):
                    await asyncio.sleep(60)
            if jobs == [0]:
                await gate.wait()
            return list(jobs)

        gate = asyncio.Event()
        batcher: Batcher[Any, Any] = Batcher(work, "work")
        own = [Deadline(5), Deadline(0.05), Deadline(4)]
        tasks = [
            asyncio.create_task(batcher(job, 1, deadline)) for job, deadline in zip([0, HOSTILE, 1], own, strict=True)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.set()
        assert await tasks[0] == 0
        with pytest.raises(Unavailable, match="within the deadline"):
            await tasks[1]
        assert await tasks[2] == 1
        assert deadlines == own

    asyncio.run(run())


def test_rows_that_triton_refuses_fail_their_own_call_alone():
    class Picky:
        """A model that refuses a whole batch with a negative number in it."""

        def __init__(self) -> None:
            self.rows: list[int] = []

        async def infer(self, model: str, inputs: Any, outputs: Any, deadline: Deadline) -> dict[str, Any]:
            await asyncio.sleep(0)
            self.rows.append(len(inputs["x"]))
            if (inputs["x"] < 0).any():
                raise RuntimeError("predictor model m: INVALID_ARGUMENT: below 0")
            return {"y": 2 * inputs["x"]}

    async def run() -> None:
        model, reruns = Picky(), []
        predictor = BatchedPredictor(model, 1, reruns.append)
        values = [np.array([[value]]) for value in (0, 1, -1, 2)]
        got = await asyncio.gather(
            *(predictor.infer("m", {"x": one}, ["y"], Deadline(5)) for one in values), return_exceptions=True
        )
        assert [one["y"].tolist() for one in got if isinstance(one, dict)] == [[[0]], [[2]], [[4]]]
        assert isinstance(got[2], RuntimeError)
        assert model.rows == [1, 3, 1, 1, 1]
        assert reruns == ["m"]

    asyncio.run(run())
