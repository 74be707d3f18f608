"""What a kind of task is: `TaskKind`, the registered kinds `KINDS`, and `kind_of(task)`.

A kind has three parts, in modules of their own, so that serving imports neither torch nor pandas:

- `spec.py`: a subclass of `TaskKind`, most easily of one of the four in `polytask.tasks.shapes`;
- `learning.py`: a subclass of `polytask.tasks.learning.Learning` (torch);
- `metrics.py`: a subclass of `polytask.tasks.metrics.KindMetrics` (NumPy).

The entry point of the kind, in the group `polytask.task_kinds`, names the instance in `spec.py`; that instance names
the other two classes.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from polytask.contract.tensors import TensorSpec
from polytask.scenario import kinds
from polytask.scenario.checks import check_label_column
from polytask.scenario.kinds import KindRules
from polytask.scenario.schema import Scenario, Task

if TYPE_CHECKING:  # serving reads kinds, and has no pandas
    import pandas as pd

    from polytask.data.labels import LabelEvents, TaskLabels

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Bounds = tuple[float | None, float | None]
Tensors = Mapping[str, NDArray[Any]]


class TaskKind(KindRules):
    """One kind of task. Methods get the task; an instance has no state.

    Attributes:
        learning: `package.module:Class` of the subclass of `Learning`.
        metrics: `package.module:Class` of the subclass of `KindMetrics`.
        label_types: Types that the column of a label may have.
        labels_by_item: Whether labels of items stay a table of items and classes instead of one row per event.
        follows_items: Whether a task predicts the item of the next event.
        scores_classes: Whether a task has one logit per class of `classes`.
        several_classes: Whether several classes may be true.
        percent: Whether a single number is shown in percent.
        response: Suffixes of the response tensors `<task>_<suffix>`, see `polytask.tasks.shapes`.
        listed_output: Suffix of the response tensor whose values identify the entries of a list; None for one value.
        merges: Whether the entries of a task can be merged into a slate.
    """

    learning: ClassVar[str]
    metrics: ClassVar[str]
    catalogue: str | None = None
    needs_classes: bool = False
    reads_column: bool = True
    takes_threshold: bool = False
    baselines: tuple[str, ...] = ()
    label_types: ClassVar[tuple[str, ...]] = ("integer", "float")
    labels_by_item: ClassVar[bool] = False
    follows_items: ClassVar[bool] = False
    scores_classes: ClassVar[bool] = False
    several_classes: ClassVar[bool] = False
    percent: ClassVar[bool] = False
    response: ClassVar[tuple[str, ...]] = ()
    listed_output: ClassVar[str | None] = None
    merges: ClassVar[bool] = True

    def check_label(self, scenario: Scenario, where: str, task: Task) -> None:
        """Check the label of `task`, whose path in the file is `where`. Raises ValueError with the field."""
        check_label_column(scenario, where, task, self.label_types)

    def labels(self, task: Task, events: "LabelEvents") -> "TaskLabels":
        """Return the labels of `task` for n events. Raises DataError for a value that is not allowed."""
        return events.of_column(lambda column, hidden: self.numbers(task, column, hidden), by_item=self.labels_by_item)

    def numbers(self, task: Task, column: "pd.Series", hidden: bool) -> tuple[FloatArray, BoolArray]:
        """Convert a column to labels. A missing value is no label.

        Args:
            task: The task of the label.
            column: The column of the events or of the items, (n,).
            hidden: Whether an error must not show a value, because the column is personal.

        Returns:
            Labels, (n,) or (n, M) float32, and which rows have one, (n,) bool.
        """
        present = column.notna().to_numpy(dtype=np.bool_)
        numbers = np.zeros(len(column), dtype=np.float32)
        numbers[present] = column[present].to_numpy(dtype=np.float32)
        return numbers, present

    def outputs(self, task: Task) -> list[TensorSpec]:
        """Return the output tensors of `task`, named `<task>_<suffix>`."""
        raise NotImplementedError(f"kind {self.name!r} names no outputs")

    def width(self, task: Task) -> int:
        """Return the number of values per request in the response; -1 if the caller chooses it."""
        return 1

    def respond(self, task: Task, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Return the response tensors of a task without a catalogue: suffix -> values (B, C).

        Args:
            task: The task.
            tensors: Name -> values of the model's tensors, see `outputs`.
        """
        return {suffix: np.asarray(tensors[f"{task.name}_{suffix}"], np.float32) for suffix in self.response}

    def strengths(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how probable the entries (n,) of one list are, compared with the best one: 0 to 1."""
        return scores

    def bounds(self, scenario: Scenario, task: Task) -> Bounds:
        """Return the smallest and the largest value of a single number; None where there is none."""
        return scenario.label_bounds(task)

    def shown(self, value: float) -> str:
        """Return a single number as text for people."""
        return f"{value:.0%}" if self.percent else f"{value:.2f}"


def kind_of(task: Task) -> TaskKind:
    """Return the kind of `task`."""
    return cast(TaskKind, kinds.kind_of(task))


class _Kinds(Mapping[str, TaskKind]):
    """The registered kinds by name; a kind is imported when it is read."""

    def __getitem__(self, name: str) -> TaskKind:
        return cast(TaskKind, kinds.kind_named(name))

    def __iter__(self) -> Iterator[str]:
        return iter(kinds.kind_names())

    def __len__(self) -> int:
        return len(kinds.kind_names())


KINDS: Mapping[str, TaskKind] = _Kinds()
