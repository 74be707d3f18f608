"""Convert requests to tensors of the Open Inference Protocol v2, and tensors to results, without calling a server."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polytask.client.answers import Entry, Ranked, Recommendations, ScoredLabel, SlateEntry, Value
from polytask.client.questions import Question
from polytask.contract.names import (
    CONTEXT,
    COUNT,
    FILTERS,
    FLAGS,
    ITEM_LISTS,
    MASKED_SCORE,
    PRIORITY,
    PRIORITY_TASKS,
    QUERY,
    SLATE,
    SLATE_COLUMNS,
    SLATE_OUTPUTS,
    SLATE_TASKS,
    TASK_WEIGHTS,
    TASKS,
    TIMESTAMP,
    USER_ID,
)
from polytask.errors import RequestError

if TYPE_CHECKING:
    import tritonclient.grpc as triton
    from numpy.typing import NDArray

NOT_OF_A_TASK = (*FLAGS, *SLATE_OUTPUTS)
MILLISECONDS = "_ms"


def inputs_of(
    questions: Sequence[Question],
    *,
    tasks: Sequence[str] | None = None,
    k: int | None = None,
    slate: int | None = None,
    task_weights: Mapping[str, float] | None = None,
    filters: Sequence[str] | None = None,
) -> list["triton.InferInput"]:
    """Encode questions as the tensors of one call: `user_id` (B, 1) and those that the questions or options need.

    Keys are INT64 (B, n) where they are integers, else BYTES; lists are padded in front to the longest of the batch.

    Args:
        questions: One question per user, B in all.
        tasks: Names of the wanted tasks, BYTES (n,); None for all.
        k: Length of the lists, INT64 (1,).
        slate: Length of the merged list, INT64 (1,).
        task_weights: Task name -> weight in the merged list, BYTES (n,) of `task=weight`.
        filters: Filters on the items' attributes, BYTES (n,).

    Returns:
        The tensors that the questions and options need.

    Raises:
        RequestError: A key is neither an integer of 64 bits nor a string, or keys of both types are mixed.
    """
    inputs = [_tensor(USER_ID, [[question.user] for question in questions])]
    if any(question.query is not None for question in questions):
        inputs.append(_tensor(QUERY, [[question.query or ""] for question in questions]))
    if any(question.timestamp is not None for question in questions):
        now = int(time.time())
        moments = [now if question.timestamp is None else question.timestamp for question in questions]
        inputs.append(_tensor(TIMESTAMP, [[moment] for moment in moments]))
    contexts = [[f"{name}={value}" for name, value in question.context.items()] for question in questions]
    if any(contexts):
        inputs.append(_tensor(CONTEXT, _padded(contexts)))
    for name in ITEM_LISTS:
        rows = [list(getattr(question, name)) for question in questions]
        if any(rows):
            inputs.append(_tensor(name, _padded(rows)))
    inputs += [_tensor(name, [number]) for name, number in ((COUNT, k), (SLATE, slate)) if number is not None]
    if tasks is not None:
        inputs.append(_texts(TASKS, tasks))
    if task_weights is not None:
        inputs.append(_texts(TASK_WEIGHTS, [f"{name}={float(weight)!r}" for name, weight in task_weights.items()]))
    if filters:
        inputs.append(_texts(FILTERS, filters))
    return inputs


def responses_of(questions: Sequence[Question], result: "triton.InferResult") -> list[Recommendations]:
    """Decode the response of one call.

    Args:
        questions: The questions of the call, B in all.
        result: The response; its tensors have B rows.

    Returns:
        B results in the order of `questions`.
    """
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
        Recommendations(
            user=question.user,
            tasks={task: entries_of(task, tensors, row) for task in names},
            **{name: bool(tensors[name][row, 0]) for name in FLAGS},
            model_version=response.model_version,
            contract_checksum=parameters["contract_checksum"],
            query=question.query,
            context=question.context,
            slate=_slate(tensors, row) if SLATE_TASKS in tensors else (),
            priority=_priority(tensors, row) if PRIORITY in tensors else {},
            timings=timings,
        )
        for row, question in enumerate(questions)
    ]


def entries_of(task: str, tensors: Mapping[str, "NDArray[Any]"], row: int) -> tuple[Entry, ...]:
    """Decode the entries of one task in one row; padding and masked entries are left out.

    Args:
        task: Name of the task.
        tensors: Output name -> tensor (B, K): `<task>_ids` INT64 or BYTES, `<task>_titles` and `<task>_labels` BYTES,
            `<task>_scores` and `<task>_values` FP32.
        row: Row of the batch, from 0.

    Returns:
        At most K entries, best first.
    """
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
    return tuple(ScoredLabel(label.decode(), score) for label, score in zip(labels, scores, strict=True))


def _texts(name: str, values: Sequence[str]) -> "triton.InferInput":
    """A list of texts that is about the whole call; it may be empty."""
    import numpy as np
    import tritonclient.grpc as triton

    data = np.array([value.encode() for value in values], dtype=object)
    return triton.InferInput(name, [len(data)], "BYTES").set_data_from_numpy(data)


def _padded(rows: Sequence[Sequence[int | str]]) -> list[list[int | str]]:
    """Rows of one length. Padding comes first, so that the newest stays last; no catalogue knows -1 or ''."""
    width = max(map(len, rows))
    filler: int | str = "" if any(isinstance(value, str) for row in rows for value in row) else -1
    return [[filler] * (width - len(row)) + [*row] for row in rows]


def _tensor(name: str, values: Sequence[Any]) -> "triton.InferInput":
    """INT64 for integers, BYTES for texts. Raises RequestError for what is neither, and for a mixture."""
    import numpy as np
    import tritonclient.grpc as triton

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


def _slate(tensors: Mapping[str, "NDArray[Any]"], row: int) -> tuple[SlateEntry, ...]:
    tasks, ids, titles, scores = (tensors[name][row].tolist() for name in SLATE_COLUMNS)
    return tuple(
        SlateEntry(task.decode(), external.decode(), title.decode(), score)
        for task, external, title, score in zip(tasks, ids, titles, scores, strict=True)
        if score > MASKED_SCORE / 2
    )


def _priority(tensors: Mapping[str, "NDArray[Any]"], row: int) -> dict[str, float]:
    names, values = tensors[PRIORITY_TASKS][row].tolist(), tensors[PRIORITY][row].tolist()
    return {name.decode(): value for name, value in zip(names, values, strict=True)}
