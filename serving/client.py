"""A typed client of the recommender over gRPC: one call per user or batch of users, one answer per task."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
import tenacity
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from polytask.errors import RequestError, ServingError
from polytask.tensors import MASKED_SCORE

FLAGS = ("cold_start", "truncated", "stale_features")
SLATE = ("slate_tasks", "slate_ids", "slate_titles", "slate_scores")
NOT_OF_A_TASK = (*FLAGS, *SLATE, "priority_tasks", "priority")
RETRY_AT_FIRST_SECONDS, RETRY_AT_MOST_SECONDS = 0.05, 0.5


class ServiceUnavailable(ServingError):
    """The recommender, or a service it needs, is down or slow. The same call may succeed later."""


@dataclass(frozen=True)
class Ranked:
    """An entry of a retrieval task's list."""

    id: int | str
    title: str
    score: float


@dataclass(frozen=True)
class Label:
    """A class with its score. A binary task has one, named after the task."""

    label: str
    score: float


@dataclass(frozen=True)
class Value:
    """The number that a regression task predicts."""

    value: float


Entry = Ranked | Label | Value


@dataclass(frozen=True)
class Question:
    """What is asked about one user. `timestamp` is in unix seconds, None for now; items run from oldest to newest.

    `exclude_items` are left out; `negative_items` too, and what is like them is lowered: "less of this". `context`
    says what the scenario's `features.context` asks for, such as {"weather": "rain"}.
    """

    user: int | str
    query: str | None = None
    timestamp: int | None = None
    recent_items: Sequence[int | str] = ()
    exclude_items: Sequence[int | str] = ()
    negative_items: Sequence[int | str] = ()
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SlateEntry:
    """An entry of the merged slate: `id` is an external id as text, or a label."""

    task: str
    id: str
    title: str
    score: float


@dataclass(frozen=True)
class Answer:
    """The answer for one user: task name -> entries, best first.

    Where a slate was asked for, `slate` merges the tasks, best first, and `priority` says how much each task counted.
    `timings` has the milliseconds that each stage of the whole call took at the server.
    """

    user: int | str
    tasks: Mapping[str, tuple[Entry, ...]]
    cold_start: bool
    truncated: bool
    stale_features: bool
    model_version: str
    contract_checksum: str
    query: str | None = field(default=None)
    context: Mapping[str, str] = field(default_factory=dict)
    slate: tuple[SlateEntry, ...] = ()
    priority: Mapping[str, float] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts and lists, ready for JSON."""
        return asdict(self)


class RecommenderClient:
    """Calls the recommender at `url` (host:port of its gRPC endpoint).

    A call ends within `deadline_seconds`, retries included; only UNAVAILABLE is tried again. Raises RequestError with
    the field for a call the server refuses, ServiceUnavailable when it is down or slow, ServingError otherwise.
    """

    def __init__(
        self, url: str, *, model: str = "recommender", deadline_seconds: float = 5.0, attempts: int = 3
    ) -> None:
        self.url = url
        self.model = model
        self.deadline_seconds = deadline_seconds
        self.attempts = attempts
        options = [
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        self._client = triton.InferenceServerClient(url, channel_args=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def recommend(
        self,
        user: int | str,
        *,
        query: str | None = None,
        timestamp: int | None = None,
        recent_items: Sequence[int | str] = (),
        exclude_items: Sequence[int | str] = (),
        negative_items: Sequence[int | str] = (),
        context: Mapping[str, str] | None = None,
        tasks: Sequence[str] | None = None,
        k: int | None = None,
        slate: int | None = None,
        task_weights: Mapping[str, float] | None = None,
    ) -> Answer:
        """The answer for one user; `tasks` None means all, `k` is the length of the lists.

        `slate` asks for one merged list of that length; `task_weights` (1 for a task that is not named) then replaces
        the priorities that were learned for the user.
        """
        question = Question(user, query, timestamp, recent_items, exclude_items, negative_items, context or {})
        return self.recommend_many([question], tasks=tasks, k=k, slate=slate, task_weights=task_weights)[0]

    def recommend_many(
        self,
        questions: Sequence[Question],
        *,
        tasks: Sequence[str] | None = None,
        k: int | None = None,
        slate: int | None = None,
        task_weights: Mapping[str, float] | None = None,
    ) -> list[Answer]:
        """The answers for a batch of users, in their order, from one call; see `recommend`."""
        if not questions:
            return []
        inputs = _inputs(questions, tasks, k, slate, task_weights)
        result = self._call(
            lambda seconds: self._client.infer(self.model, inputs, client_timeout=seconds, timeout=None)
        )
        return _answers(questions, result)

    def input_types(self) -> dict[str, str]:
        """Name -> datatype of the inputs the server takes; `user_id` says whether keys are numbers or texts."""
        metadata = self._call(lambda seconds: self._client.get_model_metadata(self.model, client_timeout=seconds))
        return {tensor.name: tensor.datatype for tensor in metadata.inputs}

    def _call(self, send: Any) -> Any:
        end = time.monotonic() + self.deadline_seconds
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_unavailable),
            stop=tenacity.stop_after_attempt(self.attempts) | tenacity.stop_after_delay(self.deadline_seconds),
            wait=tenacity.wait_exponential_jitter(RETRY_AT_FIRST_SECONDS, RETRY_AT_MOST_SECONDS, jitter=0.05),
            reraise=True,
        )
        try:
            return retrying(lambda: send(max(0.001, end - time.monotonic())))
        except InferenceServerException as error:
            raise self._translate(error) from error

    def _translate(self, error: InferenceServerException) -> ServingError | RequestError:
        status, message = error.status() or "", error.message()
        if "INVALID_ARGUMENT" in status:
            name, _, rest = message.partition(": ")
            return RequestError(name, rest) if rest else RequestError("request", message)
        if "UNAVAILABLE" in status:
            return ServiceUnavailable(f"recommender at {self.url}: {message}")
        if "DEADLINE_EXCEEDED" in status:
            return ServiceUnavailable(f"recommender at {self.url}: no answer within {self.deadline_seconds:g} s")
        return ServingError(f"recommender at {self.url}: {status}: {message}")


def _is_unavailable(error: BaseException) -> bool:
    return isinstance(error, InferenceServerException) and "UNAVAILABLE" in (error.status() or "")


def _inputs(
    questions: Sequence[Question],
    tasks: Sequence[str] | None = None,
    k: int | None = None,
    slate: int | None = None,
    task_weights: Mapping[str, float] | None = None,
) -> list[triton.InferInput]:
    inputs = [_tensor("user_id", [[question.user] for question in questions])]
    if any(question.query is not None for question in questions):
        inputs.append(_tensor("query", [[question.query or ""] for question in questions]))
    if any(question.timestamp is not None for question in questions):
        now = int(time.time())
        moments = [now if question.timestamp is None else question.timestamp for question in questions]
        inputs.append(_tensor("timestamp", [[moment] for moment in moments]))
    contexts = [[f"{name}={value}" for name, value in question.context.items()] for question in questions]
    if any(contexts):
        inputs.append(_tensor("context", _padded(contexts)))
    for name in ("recent_items", "exclude_items", "negative_items"):
        rows = [list(getattr(question, name)) for question in questions]
        if any(rows):
            inputs.append(_tensor(name, _padded(rows)))
    inputs += [_tensor(name, [number]) for name, number in (("k", k), ("slate", slate)) if number is not None]
    if tasks is not None:
        inputs.append(_texts("tasks", list(tasks)))
    if task_weights is not None:
        inputs.append(_texts("task_weights", [f"{name}={float(weight)!r}" for name, weight in task_weights.items()]))
    return inputs


def _texts(name: str, values: list[str]) -> triton.InferInput:
    """A list of texts that is about the whole call; it may be empty."""
    data = np.array([value.encode() for value in values], dtype=object)
    return triton.InferInput(name, [len(data)], "BYTES").set_data_from_numpy(data)


def _padded(rows: Sequence[Sequence[int | str]]) -> list[list[int | str]]:
    """Rows of one length. Padding comes first, so that the newest stays last; no catalogue knows -1 or ''."""
    width = max(map(len, rows))
    filler: int | str = "" if any(isinstance(value, str) for row in rows for value in row) else -1
    return [[filler] * (width - len(row)) + [*row] for row in rows]


def _tensor(name: str, values: Sequence[Any]) -> triton.InferInput:
    """INT64 for integers, BYTES for texts. Raises RequestError for what is neither, and for a mixture."""
    array = np.array(values, dtype=object)
    if all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in array.flat):
        try:
            data, datatype = array.astype(np.int64), "INT64"
        except OverflowError as error:
            raise RequestError(name, "a number does not fit into 64 bits") from error
    elif all(isinstance(value, str) for value in array.flat):
        data = np.array([value.encode() for value in array.flat], dtype=object).reshape(array.shape)
        datatype = "BYTES"
    else:
        kinds = sorted({type(value).__name__ for value in array.flat})
        raise RequestError(name, f"values of type {', '.join(kinds)}, allowed: all integers or all texts")
    return triton.InferInput(name, list(data.shape), datatype).set_data_from_numpy(data)


def _answers(questions: Sequence[Question], result: triton.InferResult) -> list[Answer]:
    response = result.get_response()
    tensors = {output.name: result.as_numpy(output.name) for output in response.outputs}
    # A task's tensors are named <task>_<what>; the order of the tasks is the server's.
    names = dict.fromkeys(name.rpartition("_")[0] for name in tensors if name not in NOT_OF_A_TASK)
    # KServe's messages hold no fractions, so the numbers come as text.
    timings = {
        name.removesuffix("_ms"): float(parameter.string_param)
        for name, parameter in response.parameters.items()
        if name.endswith("_ms")
    }
    return [
        Answer(
            user=question.user,
            tasks={task: _entries(task, tensors, row) for task in names},
            **{name: bool(tensors[name][row, 0]) for name in FLAGS},
            model_version=response.model_version,
            contract_checksum=response.parameters["contract_checksum"].string_param,
            query=question.query,
            context=question.context,
            slate=_slate(tensors, row) if "slate_tasks" in tensors else (),
            priority=_priority(tensors, row) if "priority" in tensors else {},
            timings=timings,
        )
        for row, question in enumerate(questions)
    ]


def _entries(task: str, tensors: Mapping[str, NDArray[Any]], row: int) -> tuple[Entry, ...]:
    if f"{task}_values" in tensors:
        return tuple(Value(float(value)) for value in tensors[f"{task}_values"][row])
    scores = tensors[f"{task}_scores"][row].tolist()
    if f"{task}_ids" in tensors:
        ids, titles = tensors[f"{task}_ids"][row].tolist(), tensors[f"{task}_titles"][row]
        return tuple(
            Ranked(external.decode() if isinstance(external, bytes) else external, title.decode(), score)
            for external, title, score in zip(ids, titles, scores, strict=True)
            if score > MASKED_SCORE / 2
        )
    labels = tensors[f"{task}_labels"][row] if f"{task}_labels" in tensors else [task.encode()]
    return tuple(Label(label.decode(), score) for label, score in zip(labels, scores, strict=True))


def _slate(tensors: Mapping[str, NDArray[Any]], row: int) -> tuple[SlateEntry, ...]:
    tasks, ids, titles, scores = (tensors[name][row].tolist() for name in SLATE)
    return tuple(
        SlateEntry(task.decode(), external.decode(), title.decode(), score)
        for task, external, title, score in zip(tasks, ids, titles, scores, strict=True)
        if score > MASKED_SCORE / 2
    )


def _priority(tensors: Mapping[str, NDArray[Any]], row: int) -> dict[str, float]:
    names, values = tensors["priority_tasks"][row].tolist(), tensors["priority"][row].tolist()
    return {name.decode(): value for name, value in zip(names, values, strict=True)}
