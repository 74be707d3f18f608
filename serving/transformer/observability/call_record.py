"""What is known about one call while it runs: its stages, counts and outcome, for metrics, logs and the response."""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType

from serving.transformer.concurrency.deadline import Deadline
from serving.transformer.observability.traces import span, tracing

STAGES = ("features", "text", "predictor", "post")


@dataclass
class CallRecord:
    """Filled in as a call goes on. It holds no user id and no text, so that all of it may be logged.

    `seconds` has an entry per stage of `STAGES`: the feature store, texts and the vectors that are requested by
    themselves, the multi-task model (with new texts the ensemble, which encodes them too), the response.
    `deadline` counts from the call's arrival. `flags` counts the rows with a flag; `code` is the gRPC status's name.
    """

    request_id: str = ""
    model_version: str = ""
    batch: int = 0
    tasks: tuple[str, ...] = ()
    flags: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    code: str = "OK"
    started: float = field(default_factory=time.perf_counter)
    deadline: Deadline | None = None
    ended: float | None = None

    def stage(self, name: str) -> "_Stage":
        """Add the time inside the block to a stage, and trace it."""
        return _Stage(self.seconds, name)

    def elapsed(self) -> float:
        """Seconds from the call's beginning to its end, or until now where it has not ended."""
        return (self.ended or time.perf_counter()) - self.started

    def timings(self) -> Mapping[str, str]:
        """`<stage>_ms` -> milliseconds as text: the response parameters of KServe's messages hold no fractions."""
        return {f"{name}_ms": f"{1000 * seconds:.3f}" for name, seconds in self.seconds.items()}


class _Stage:
    """A class, since a generator's context costs several times as much, five times a call."""

    __slots__ = ("_name", "_seconds", "_span", "_start")

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds = seconds
        self._name = name

    def __enter__(self) -> None:
        self._start = time.perf_counter()
        self._span = span(self._name) if tracing() else None
        if self._span is not None:
            self._span.__enter__()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self._span is not None:
                self._span.__exit__(kind, value, at)
        finally:
            self._seconds[self._name] += time.perf_counter() - self._start


current_record: ContextVar[CallRecord | None] = ContextVar("current_record", default=None)
