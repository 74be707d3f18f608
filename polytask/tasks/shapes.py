"""The four shapes of a response. A client reads them without knowing kinds, so a kind has one of these shapes.

| Shape | Model | Response |
|---|---|---|
| `RankedList` | `ids` and `scores` (B, K) | `ids`, `scores` and `titles` (B, K), best first |
| `ClassScores` | `scores` (B, C) | `labels` and `scores` (B, C), best first |
| `Probability` | `scores` (B, 1) | `scores` (B, 1) |
| `Number` | `values` (B, 1) | `values` (B, 1) |
"""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polytask.contract.tensors import TensorSpec
from polytask.errors import DataError
from polytask.scenario.names import HIDDEN
from polytask.scenario.schema import Scenario, Task
from polytask.tasks.kind import Bounds, TaskKind, Tensors

if TYPE_CHECKING:
    import pandas as pd


class RankedList(TaskKind):
    """The best rows of a catalogue. The response writer converts rows to ids and titles."""

    response = ("ids", "scores", "titles")
    listed_output = "ids"

    def outputs(self, task: Task) -> list[TensorSpec]:
        """Return `<task>_ids` (B, K), catalogue rows, and `<task>_scores` (B, K), best first."""
        return [
            TensorSpec(name=f"{task.name}_ids", dtype="INT64", shape=(task.top_k,)),
            TensorSpec(name=f"{task.name}_scores", dtype="FP32", shape=(task.top_k,)),
        ]

    def width(self, task: Task) -> int:
        """Return -1: the caller chooses the length of the list."""
        return -1

    def strengths(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return exp(score - best): scores are logits of a softmax, so this is the ratio of two probabilities."""
        strengths: NDArray[np.float64] = np.exp(scores - scores.max(initial=-np.inf))
        return strengths


class ClassScores(TaskKind):
    """One probability per class."""

    needs_classes = True
    scores_classes = True
    response = ("labels", "scores")
    listed_output = "labels"

    def outputs(self, task: Task) -> list[TensorSpec]:
        """Return `<task>_scores` (B, C), in the order of `classes`."""
        return [TensorSpec(name=f"{task.name}_scores", dtype="FP32", shape=(self.width(task),))]

    def width(self, task: Task) -> int:
        """Return the number of classes."""
        return len(task.classes or ())

    def respond(self, task: Task, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Return labels and scores (B, C), the most probable class first."""
        scores = np.asarray(tensors[f"{task.name}_scores"], np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")
        labels = np.array(task.classes, dtype=object)
        return {"labels": labels[order], "scores": scores[np.arange(len(scores))[:, None], order]}

    def strengths(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities divided by the largest one."""
        strengths: NDArray[np.float64] = scores / max(scores.max(initial=0.0), np.finfo(np.float64).tiny)
        return strengths

    @staticmethod
    def class_numbers(task: Task, names: "pd.Series[str] | list[str]", hidden: bool) -> list[int]:
        """Return the positions of `names` in `classes`. Raises DataError for a name that is not among them."""
        number = {name: position for position, name in enumerate(task.classes or ())}
        unknown = sorted({str(name) for name in names if name not in number})
        if unknown:
            shown = HIDDEN if hidden else ", ".join(unknown[:5])
            raise DataError(
                f"task {task.name!r}: {shown} in the data; allowed: {', '.join(number)} (what `classes` of the task "
                "names)"
            )
        return [number[name] for name in names]


class Probability(TaskKind):
    """One probability."""

    response = ("scores",)
    percent = True

    def outputs(self, task: Task) -> list[TensorSpec]:
        """Return `<task>_scores` (B, 1)."""
        return [TensorSpec(name=f"{task.name}_scores", dtype="FP32", shape=(1,))]

    def bounds(self, scenario: Scenario, task: Task) -> Bounds:
        """Return 0 and 1."""
        return (0.0, 1.0)


class Number(TaskKind):
    """One number in the unit of the label. It has no probability, so it cannot be merged into a slate."""

    response = ("values",)
    merges: ClassVar[bool] = False

    def outputs(self, task: Task) -> list[TensorSpec]:
        """Return `<task>_values` (B, 1)."""
        return [TensorSpec(name=f"{task.name}_values", dtype="FP32", shape=(1,))]
