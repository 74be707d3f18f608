"""Concurrent calls share the work: what waits while a batch is under way becomes the next batch.

Nothing waits for a batch to fill, so a call that is alone is as fast as before, and the busier the transformer the
larger the batches: reads of the feature store and calls to Triton cost much by the call and little by the row.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from polytask.errors import ContractError
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.predictor.message_size import rows_per_message
from serving.triton.model_config import MAX_BATCH_SIZE

# So many rows start a second batch next to the one under way, for the model's other instance: half of what eight
# callers send. With fewer, all batches stay small; with more, everybody waits for the same batch while a core idles
# (ADR 0031).
ENOUGH_ROWS = 4

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass
class _Waiting(Generic[Job, Result]):
    job: Job
    rows: int
    deadline: Deadline
    result: "asyncio.Future[Result]"


class Batcher(Generic[Job, Result]):
    """Runs `function` over lists of jobs, at most `in_flight` lists at a time, each of at most `most_rows` rows.

    A list that would run next to another one starts once it has `enough_rows`; with nothing under way, any starts.
    A job waits no longer than its own deadline, and a batch runs on the latest deadline of its jobs: one that gives up
    or is cancelled takes nothing away from the others.

    An unavailable dependency fails all jobs of a batch. After any other error they are run again one by one, each on
    its own deadline, so that the error is the one's that caused it; `rerun` is called once per such batch.
    """

    def __init__(
        self,
        function: Callable[[Sequence[Job], Deadline], Awaitable[Sequence[Result]]],
        what: str,
        *,
        in_flight: int = 1,
        enough_rows: int = 1,
        most_rows: int = MAX_BATCH_SIZE,
        rerun: Callable[[], None] = lambda: None,
    ) -> None:
        """`what` is waited for, as errors have it."""
        self._function = function
        self._what = what
        self._in_flight = in_flight
        self._enough_rows = enough_rows
        self._most_rows = most_rows
        self._rerun = rerun
        self._waiting: deque[_Waiting[Job, Result]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, job: Job, rows: int, deadline: Deadline) -> Result:
        """The result of one job. Raises Unavailable when its deadline passes, and what `function` raises."""
        loop = asyncio.get_running_loop()
        entry: _Waiting[Job, Result] = _Waiting(job, rows, deadline, loop.create_future())
        end = loop.call_later(deadline.remaining(self._what), self._give_up, entry)
        self._waiting.append(entry)
        self._start()
        try:
            return await entry.result
        finally:
            end.cancel()

    def _give_up(self, entry: _Waiting[Job, Result]) -> None:
        if not entry.result.done():
            entry.result.set_exception(entry.deadline.passed(self._what))

    def _start(self) -> None:
        while self._may_start() and (batch := self._take()):
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _may_start(self) -> bool:
        if not self._running:
            return True
        waiting = sum(entry.rows for entry in self._waiting if not entry.result.done())
        return len(self._running) < self._in_flight and waiting >= self._enough_rows

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._start()

    def _take(self) -> list[_Waiting[Job, Result]]:
        """The oldest jobs that still wait, as many as fit into one batch."""
        batch: list[_Waiting[Job, Result]] = []
        rows = 0
        while self._waiting:
            first = self._waiting[0]
            if batch and rows + first.rows > self._most_rows:
                break
            self._waiting.popleft()
            if not first.result.done():
                batch.append(first)
                rows += first.rows
        return batch

    async def _run(self, batch: Sequence[_Waiting[Job, Result]]) -> None:
        latest = max((entry.deadline for entry in batch), key=Deadline.left)
        try:
            results = await self._function([entry.job for entry in batch], latest)
            # Checked here too: a result too few would be handed to the wrong job.
            done = list(zip(batch, results, strict=True))
        except BaseException as error:
            if len(batch) > 1 and _may_be_of_one_job(error):
                self._rerun()
                await self._run_one_by_one(batch)
                return
            for entry in batch:
                if not entry.result.done():
                    entry.result.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for entry, result in done:
            if not entry.result.done():
                entry.result.set_result(result)

    async def _run_one_by_one(self, batch: Sequence[_Waiting[Job, Result]]) -> None:
        """One after the other: Triton would batch calls that come together, and fail them together."""
        for entry in batch:
            if not entry.result.done():  # given up, or cancelled
                await self._run([entry])


def _may_be_of_one_job(error: BaseException) -> bool:
    """Whether the other jobs of a batch may succeed: not where a dependency is unavailable or serves another model."""
    return isinstance(error, Exception) and not isinstance(error, Unavailable | ContractError)


class Predictor(Protocol):
    """The server of the models."""

    async def infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, NDArray[Any]]:
        """The wanted outputs of a model, by name."""


@dataclass(frozen=True)
class _Rows:
    """One call's part of a batch: its inputs (B, ...), and the outputs that it wants."""

    inputs: Mapping[str, NDArray[Any]]
    outputs: Sequence[str]

    @property
    def count(self) -> int:
        return len(next(iter(self.inputs.values())))


class BatchedPredictor:
    """A predictor whose concurrent calls of one model and of equal shapes become one call. A model of the predictor has
    so many `instances`, each of which may have a batch in flight.
    """

    def __init__(self, predictor: Predictor, instances: int, rerun: Callable[[str], None] = lambda model: None) -> None:
        """`rerun` is called with the model of each batch that is run again call by call."""
        self._predictor = predictor
        self._instances = instances
        self._rerun = rerun
        # As many as there are models and token-length buckets, each with filters and without.
        self._batchers: dict[Hashable, Batcher[_Rows, dict[str, NDArray[Any]]]] = {}

    async def infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, NDArray[Any]]:
        """See `Predictor`."""
        key = (model, *((name, values.dtype, values.shape[1:]) for name, values in inputs.items()))
        if key not in self._batchers:

            async def run(batch: Sequence[_Rows], latest: Deadline) -> Sequence[dict[str, NDArray[Any]]]:
                return await self._run(model, batch, latest)

            self._batchers[key] = Batcher(
                run,
                f"predictor model {model}",
                in_flight=self._instances,
                enough_rows=ENOUGH_ROWS,
                rerun=lambda: self._rerun(model),
                most_rows=rows_per_message(inputs),
            )
        rows = _Rows(inputs, outputs)
        return await self._batchers[key](rows, rows.count, deadline)

    async def _run(self, model: str, batch: Sequence[_Rows], deadline: Deadline) -> Sequence[dict[str, NDArray[Any]]]:
        if len(batch) == 1:
            return [await self._predictor.infer(model, batch[0].inputs, batch[0].outputs, deadline)]
        inputs = {name: np.concatenate([rows.inputs[name] for rows in batch]) for name in batch[0].inputs}
        outputs = list(dict.fromkeys(name for rows in batch for name in rows.outputs))
        answer = await self._predictor.infer(model, inputs, outputs, deadline)
        ends = np.cumsum([rows.count for rows in batch]).tolist()
        return [
            {name: answer[name][end - rows.count : end] for name in rows.outputs}
            for rows, end in zip(batch, ends, strict=True)
        ]
