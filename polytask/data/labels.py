"""The label of each event for each task, from the scenario's `label` entries; the kind of a task derives it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.data.catalogue import Catalogue
from polytask.scenario.kinds import kind_of
from polytask.scenario.names import INTERACTIONS, ITEMS, USERS
from polytask.scenario.schema import Scenario, Task

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
# A column (n,), and whether errors must hide its values -> labels (n,) or (n, M), and which rows have one (n,).
Convert = Callable[[pd.Series, bool], tuple[FloatArray, BoolArray]]


@dataclass(frozen=True)
class TaskLabels:
    """Labels of one task over n events: `values` (n,) or (n, M), or `by_item` (N + 1, M) looked up by the event's item.

    `mask` (n,) marks the events that have a label; the others take no part in the task's loss and metrics.
    """

    mask: BoolArray
    values: NDArray[np.float32] | None = None
    by_item: BoolArray | None = None

    def of(self, events: IntArray, item_rows: IntArray) -> NDArray[np.float32] | BoolArray:
        """The labels (m,) or (m, M) of some events (m,), given the item rows of all events (n,)."""
        if self.by_item is not None:
            looked_up: BoolArray = self.by_item[item_rows[events]]
            return looked_up
        assert self.values is not None
        return self.values[events]


class LabelEvents:
    """The events (n,) from which a kind derives the labels of one task.

    Attributes:
        fulfilled: (n,) bool: events that fulfil `label.where`.
        train: (n,) bool: events of the training split.
    """

    def __init__(
        self, scenario: Scenario, task: Task, events: pd.DataFrame, train: BoolArray, catalogues: dict[str, Catalogue]
    ) -> None:
        self._scenario, self._task, self._events, self._catalogues = scenario, task, events, catalogues
        self.train = train
        self.fulfilled = np.ones(len(events), dtype=np.bool_)
        if task.label.where is not None:
            # A missing number fulfils no condition.
            fulfilled = events[task.label.where.column] >= task.label.where.at_least
            self.fulfilled = fulfilled.fillna(False).to_numpy(dtype=np.bool_)

    def __len__(self) -> int:
        """Number of events."""
        return len(self._events)

    @cached_property
    def item_rows(self) -> IntArray:
        """The item of each event, (n,); 0 for an unknown item."""
        items = self._catalogues[ITEMS]
        return items.rows(self._events[items.key])

    @cached_property
    def user_rows(self) -> IntArray:
        """The user of each event, (n,)."""
        users = self._catalogues[USERS]
        return users.rows(self._events[users.key])

    @property
    def items(self) -> int:
        """Number of items N."""
        return len(self._catalogues[ITEMS])

    @property
    def users(self) -> int:
        """Number of users U."""
        return len(self._catalogues[USERS])

    def of_column(self, convert: Convert, *, by_item: bool = False) -> TaskLabels:
        """Return the labels from the column that the task's label names.

        Args:
            convert: Converts the column of the events, or that of the items.
            by_item: Keep labels of items as 0/1 per item and class instead of copying them to the events.
        """
        column, table = self._task.label.column, self._task.label.table
        assert column is not None
        hidden = column in self._scenario.personal_columns(table or INTERACTIONS)
        if table != ITEMS:
            values, present = convert(self._events[column], hidden)
            return TaskLabels(mask=self.fulfilled & present, values=values)
        values, present = convert(self._catalogues[ITEMS].table[column], hidden)
        # Row 0, the unknown item, has no label.
        values, present = np.concatenate([np.zeros_like(values[:1]), values]), np.concatenate([[False], present])
        mask = self.fulfilled & present[self.item_rows]
        if by_item:
            return TaskLabels(mask=mask, by_item=values.astype(np.bool_))
        return TaskLabels(mask=mask, values=values[self.item_rows])


class LabelKind(Protocol):
    """The part of a task kind that derives labels."""

    def labels(self, task: Task, events: LabelEvents) -> TaskLabels:
        """Return the labels of `task` for `events`. Raises DataError for a value that is not allowed."""


def event_labels(
    scenario: Scenario,
    events: pd.DataFrame,
    train: BoolArray,
    catalogues: dict[str, Catalogue],
) -> dict[str, TaskLabels]:
    """Labels of every task for `events` (n rows); `train` (n,) marks the events of the training split."""
    return {
        task.name: cast(LabelKind, kind_of(task)).labels(task, LabelEvents(scenario, task, events, train, catalogues))
        for task in scenario.tasks
    }
