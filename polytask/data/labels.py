"""The label of each task for each event, from the scenario's `label` entries."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.errors import DataError
from polytask.scenario.names import HIDDEN, INTERACTIONS, ITEMS, USERS
from polytask.scenario.schema import Scenario, Task

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


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


def event_labels(
    scenario: Scenario,
    events: pd.DataFrame,
    train: BoolArray,
    catalogues: dict[str, Catalogue],
) -> dict[str, TaskLabels]:
    """Labels of every task for `events` (n rows); `train` (n,) marks the events that count as co-interactions."""
    return {task.name: _labels(scenario, task, events, train, catalogues) for task in scenario.tasks}


def _labels(
    scenario: Scenario, task: Task, events: pd.DataFrame, train: BoolArray, catalogues: dict[str, Catalogue]
) -> TaskLabels:
    where = np.ones(len(events), dtype=np.bool_)
    if task.label.where is not None:
        # A missing number fulfils no condition.
        fulfilled = events[task.label.where.column] >= task.label.where.at_least
        where = fulfilled.fillna(False).to_numpy(dtype=np.bool_)
    if task.label.source == "peers":
        return _peers(events, train & where, where, catalogues)
    if task.kind == "retrieval":
        rows = _item_rows(events, catalogues)
        return TaskLabels(mask=where & (rows != PADDING_ROW), values=rows.astype(np.float32))
    column = task.label.column
    assert column is not None
    if task.label.source == "interaction":
        hidden = column in scenario.personal_columns(INTERACTIONS)
        values, present = _numbers(task, events[column], hidden)
        return TaskLabels(mask=where & present, values=values)
    hidden = column in scenario.personal_columns(ITEMS)
    values, present = _numbers(task, catalogues[ITEMS].table[column], hidden)
    # Row 0, the unknown item, has no label.
    values, present = np.concatenate([np.zeros_like(values[:1]), values]), np.concatenate([[False], present])
    rows = _item_rows(events, catalogues)
    if task.kind == "multilabel":
        return TaskLabels(mask=where & present[rows], by_item=values.astype(np.bool_))
    return TaskLabels(mask=where & present[rows], values=values[rows])


def _peers(events: pd.DataFrame, liking: BoolArray, where: BoolArray, catalogues: dict[str, Catalogue]) -> TaskLabels:
    """Who else has an event on the same item among those that `liking` (n,) marks."""
    users, items = catalogues[USERS], catalogues[ITEMS]
    item_rows, user_rows = _item_rows(events, catalogues), users.rows(events[users.key])
    peers = np.zeros((len(items) + 1, len(users) + 1), dtype=np.bool_)
    peers[item_rows[liking], user_rows[liking]] = True
    # The user itself is not its own peer.
    others: IntArray = peers.sum(axis=1)[item_rows] - peers[item_rows, user_rows]
    return TaskLabels(mask=where & (others > 0), by_item=peers)


def _item_rows(events: pd.DataFrame, catalogues: dict[str, Catalogue]) -> IntArray:
    items = catalogues[ITEMS]
    return items.rows(events[items.key])


def _numbers(task: Task, column: pd.Series, hidden: bool) -> tuple[NDArray[np.float32], BoolArray]:
    """A column (n,) as labels, (n,) or (n, M) for multilabel, and which of its rows have one (n,).

    A missing value, and an empty list of classes, is no label. With `hidden` no error shows a value.
    """
    present = column.notna().to_numpy(dtype=np.bool_)
    if task.kind == "multilabel":
        flags = np.zeros((len(column), len(task.classes or ())), dtype=np.float32)
        for row in np.flatnonzero(present):
            flags[row, _class_numbers(task, column.iloc[row], hidden)] = 1
        return flags, np.asarray(flags.any(axis=1))
    numbers = np.zeros(len(column), dtype=np.float32)
    if task.kind == "multiclass":
        numbers[present] = _class_numbers(task, column[present], hidden)
        return numbers, present
    numbers[present] = column[present].to_numpy(dtype=np.float32)
    if task.label.at_least is not None:
        numbers = (numbers >= task.label.at_least).astype(np.float32)
    if task.kind == "binary" and not np.isin(numbers, (0, 1)).all():
        wrong = np.unique(numbers[~np.isin(numbers, (0, 1))])[:5].tolist()
        shown = HIDDEN if hidden else ", ".join(f"{value:g}" for value in wrong)
        raise DataError(f"task {task.name!r}: {shown} in the data; allowed: 0, 1")
    return numbers, present


def _class_numbers(task: Task, names: "pd.Series[str] | list[str]", hidden: bool) -> list[int]:
    number = {name: position for position, name in enumerate(task.classes or ())}
    unknown = sorted({str(name) for name in names if name not in number})
    if unknown:
        shown = HIDDEN if hidden else ", ".join(unknown[:5])
        raise DataError(
            f"task {task.name!r}: {shown} in the data; allowed: {', '.join(number)} (what `classes` of the task names)"
        )
    return [number[name] for name in names]
