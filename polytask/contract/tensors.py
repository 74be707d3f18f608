"""Names, types and shapes of every tensor between the model and the world, derived from the scenario alone.

The names are those of `polytask.contract.names`.
"""

from typing import Literal, Protocol, cast

from pydantic import BaseModel, ConfigDict

from polytask.contract.names import (
    ALLOWED,
    ATTENTION_MASK,
    DISLIKED,
    ENCODED_TEXT,
    HISTORY,
    INPUT_IDS,
    MASKED_SCORE,
    SEEN,
    TEXT_VECTOR,
    USER,
)
from polytask.scenario.kinds import kind_of
from polytask.scenario.schema import Scenario, Task

__all__ = [
    "ALLOWED",
    "ATTENTION_MASK",
    "DISLIKED",
    "ENCODED_TEXT",
    "HISTORY",
    "INPUT_IDS",
    "MASKED_SCORE",
    "SEEN",
    "TEXT_VECTOR",
    "USER",
    "TensorSpec",
    "encoded_text",
    "multitask_inputs",
    "multitask_outputs",
    "response_outputs",
    "task_outputs",
    "text_inputs",
    "text_outputs",
]


class TensorSpec(BaseModel):
    """One tensor: `shape` leaves the batch axis out, -1 is a length that differs from call to call.

    An output has no -1: Triton's C++ backend compares the sizes of outputs with those of the ONNX file and refuses to
    load a model where they differ.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dtype: Literal["INT64", "FP32", "BOOL"]
    shape: tuple[int, ...]


def text_inputs() -> list[TensorSpec]:
    """What the text encoder reads: token ids and their mask, (B, T)."""
    return [
        TensorSpec(name=INPUT_IDS, dtype="INT64", shape=(-1,)),
        TensorSpec(name=ATTENTION_MASK, dtype="INT64", shape=(-1,)),
    ]


def text_outputs(dim: int) -> list[TensorSpec]:
    """The output of the text encoder: one vector per text, (B, D)."""
    return [TensorSpec(name=TEXT_VECTOR, dtype="FP32", shape=(dim,))]


def multitask_inputs(scenario: Scenario, dim: int) -> list[TensorSpec]:
    """What the multi-task model reads: text vector (B, D), history rows (B, L), seen rows (B, S), user row (B, 1).

    Without items there is no history, and nothing seen; the user is read where a task lists users. Rows of items that
    are wanted less, (B, M), are read where `features.disliked_length` M is not 0. `allowed` (B, W) is read where a task
    lists items: W is 1, and true, for all items, or catalogue rows + 1, and true for each row that may be listed.
    """
    specs = text_outputs(dim)
    if scenario.has_items:
        specs.append(TensorSpec(name=HISTORY, dtype="INT64", shape=(scenario.features.history_length,)))
        specs.append(TensorSpec(name=SEEN, dtype="INT64", shape=(scenario.features.exclude_length,)))
    if scenario.lists_users:
        specs.append(TensorSpec(name=USER, dtype="INT64", shape=(1,)))
    if scenario.takes_disliked_items:
        specs.append(TensorSpec(name=DISLIKED, dtype="INT64", shape=(scenario.features.disliked_length,)))
    if scenario.lists_items:
        specs.append(TensorSpec(name=ALLOWED, dtype="BOOL", shape=(-1,)))
    return specs


class OutputKind(Protocol):
    """The part of a task kind that names the tensors of the model."""

    def outputs(self, task: Task) -> list[TensorSpec]:
        """Return the output tensors of `task`, named `<task>_<suffix>`."""


def task_outputs(task: Task) -> list[TensorSpec]:
    """Return the output tensors of one task, from its kind: `<task>_ids`, `<task>_scores` or `<task>_values`."""
    return cast(OutputKind, kind_of(task)).outputs(task)


def response_outputs(scenario: Scenario) -> list[TensorSpec]:
    """The output tensors of all tasks, in the scenario's order."""
    return [spec for task in scenario.tasks for spec in task_outputs(task)]


def encoded_text(dim: int) -> TensorSpec:
    """`encoded_text` (B, D): the text vectors that the multi-task model read, for ensemble callers that keep them.

    The ensemble cannot return them itself: what goes from step to step is no output (ADR 0002).
    """
    return TensorSpec(name=ENCODED_TEXT, dtype="FP32", shape=(dim,))


def multitask_outputs(scenario: Scenario, dim: int) -> list[TensorSpec]:
    """What the multi-task model returns: the tensors of all tasks, then the text vectors (B, `dim`)."""
    return [*response_outputs(scenario), encoded_text(dim)]
