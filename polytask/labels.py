"""What each task should have answered for each event, from the scenario's `label` entries."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.catalogue import PADDING_ROW, Catalogue
from polytask.errors import DataError
from polytask.scenario.schema import Scenario, Task
from polytask.tables import ITEMS, USERS

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class TaskLabels:
    """Labels of one task over n events: either `values` (n,), or `by_item` (N + 1, M) looked up by the event's item.

    `mask` (n,) says which events have a label; the others take no part in the task's loss and metrics.
    """

    mask: BoolArray
    values: NDArray[np.float32] | None = None
    by_item: BoolArray | None = None

    def of(self, events: IntArray, item_rows: IntArray) -> NDArray[np.float32] | BoolArray:
        """The labels of some events (m,), given the item rows of all events (n,)."""
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
    """Labels of every task for `events` (n rows); `train` (n,) marks the events that peers may be found in."""
    return {task.name: _labels(scenario, task, events, train, catalogues) for task in scenario.tasks}


def _labels(
    scenario: Scenario, task: Task, events: pd.DataFrame, train: BoolArray, catalogues: dict[str, Catalogue]
) -> TaskLabels:
    users, items = catalogues[USERS], catalogues[ITEMS]
    item_rows = items.rows(events[items.key])
    where = np.ones(len(events), dtype=np.bool_)
    if task.label.where is not None:
        where = (events[task.label.where.column] >= task.label.where.at_least).to_numpy(dtype=np.bool_)

    if task.label.source == "peers":
        user_rows = users.rows(events[users.key])
        peers = np.zeros((len(items) + 1, len(users) + 1), dtype=np.bool_)
        peers[item_rows[train & where], user_rows[train & where]] = True
        # The user itself is not its own peer.
        others: IntArray = peers.sum(axis=1)[item_rows] - peers[item_rows, user_rows]
        return TaskLabels(mask=where & (others > 0), by_item=peers)

    column = task.label.column
    assert column is not None
    if task.label.source == "item":
        if task.kind != "multilabel":
            raise DataError(f"task {task.name!r}: kind {task.kind!r} over an item's column; allowed: multilabel")
        by_item = np.zeros((len(items) + 1, len(task.classes or ())), dtype=np.bool_)
        for row, names in enumerate(items.table[column], start=PADDING_ROW + 1):
            by_item[row, _class_numbers(task, names)] = True
        labelled = np.asarray(by_item.any(axis=1))
        return TaskLabels(mask=where & labelled[item_rows], by_item=by_item)

    if task.kind == "retrieval":
        return TaskLabels(mask=where & (item_rows != PADDING_ROW), values=item_rows.astype(np.float32))
    values = events[column]
    if task.kind == "multiclass":
        present = values.notna().to_numpy(dtype=np.bool_)
        numbers = np.zeros(len(values), dtype=np.float32)
        numbers[present] = _class_numbers(task, values[present])
        return TaskLabels(mask=where & present, values=numbers)
    present = values.notna().to_numpy(dtype=np.bool_)
    numbers = values.fillna(0).to_numpy(dtype=np.float32)
    if task.label.at_least is not None:
        numbers = (numbers >= task.label.at_least).astype(np.float32)
    return TaskLabels(mask=where & present, values=numbers)


def _class_numbers(task: Task, names: "pd.Series[str] | list[str]") -> list[int]:
    number = {name: position for position, name in enumerate(task.classes or ())}
    unknown = sorted({str(name) for name in names if name not in number})
    if unknown:
        raise DataError(f"task {task.name!r}: {', '.join(unknown[:5])} in the data; allowed: {', '.join(number)}")
    return [number[name] for name in names]
