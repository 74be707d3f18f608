"""Convert requests to tensors of the Open Inference Protocol v2, and tensors to results, without calling a server."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray

from polytask.client.answers import Answer, Entry, Label, Ranked, SlateEntry, Value
from polytask.client.questions import Question
from polytask.contract.tensors import MASKED_SCORE
from polytask.errors import RequestError

FLAGS = ("cold_start", "truncated", "stale_features", "degraded")
SLATE = ("slate_tasks", "slate_ids", "slate_titles", "slate_scores")
NOT_OF_A_TASK = (*FLAGS, *SLATE, "priority_tasks", "priority")
MILLISECONDS = "_ms"


def inputs_of(
    questions: Sequence[Question],
    *,
    tasks: Sequence[str] | None = None,
    k: int | None = None,
    slate: int | None = None,
    task_weights: Mapping[str, float] | None = None,
    filters: Sequence[str] | None = None,
) -> list[triton.InferInput]:
    """The tensors of one call, of the given fields only. Raises RequestError for a key that is not int or str."""
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
    for name in ("recent_items", "exclude_items", "disliked_items"):
        rows = [list(getattr(question, name)) for question in questions]
        if any(rows):
            inputs.append(_tensor(name, _padded(rows)))
    inputs += [_tensor(name, [number]) for name, number in (("k", k), ("slate", slate)) if number is not None]
    if tasks is not None:
        inputs.append(_texts("tasks", tasks))
    if task_weights is not None:
        inputs.append(_texts("task_weights", [f"{name}={float(weight)!r}" for name, weight in task_weights.items()]))
    if filters:
        inputs.append(_texts("filters", filters))
    return inputs


def answers_of(questions: Sequence[Question], result: triton.InferResult) -> list[Answer]:
    """The results of one call, in the order of `questions`."""
    response = result.get_response()
    tensors = {output.name: result.as_numpy(output.name) for output in response.outputs}
    # A task's tensors are named <task>_<what>; the order of the tasks is the server's.
    names = dict.fromkeys(name.rpartition("_")[0] for name in tensors if name not in NOT_OF_A_TASK)
    parameters = {name: _parameter(value) for name, value in response.parameters.items()}
    timings = {
        name.removesuffix(MILLISECONDS): float(value)
        for name, value in parameters.items()
        if name.endswith(MILLISECONDS)
    }
    return [
        Answer(
            user=question.user,
            tasks={task: entries_of(task, tensors, row) for task in names},
            **{name: bool(tensors[name][row, 0]) for name in FLAGS},
            model_version=response.model_version,
            contract_checksum=parameters["contract_checksum"],
            query=question.query,
            context=question.context,
            slate=_slate(tensors, row) if "slate_tasks" in tensors else (),
            priority=_priority(tensors, row) if "priority" in tensors else {},
            timings=timings,
        )
        for row, question in enumerate(questions)
    ]


def entries_of(task: str, tensors: Mapping[str, NDArray[Any]], row: int) -> tuple[Entry, ...]:
    """One task's entries in one row of the tensors; padding and what is masked are left out."""
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


def _texts(name: str, values: Sequence[str]) -> triton.InferInput:
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


def _parameter(parameter: Any) -> Any:
    return getattr(parameter, parameter.WhichOneof("parameter_choice"))


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
