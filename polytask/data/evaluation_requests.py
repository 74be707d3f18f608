"""The requests of one split, the same for the model and the baselines, and the labels to compare with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.contract.tensors import HISTORY, SEEN
from polytask.data.dataset import Dataset
from polytask.data.splits import Split
from polytask.scenario.schema import Task

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Requests:
    """m requests, each made just before one of `events` (m,).

    `history` (m, L) has the newest items last, `seen` (m, S) all items from oldest to newest from the left; both are
    item rows with 0 for padding, and have no columns where the scenario has no items.
    """

    dataset: Dataset
    events: IntArray
    history: IntArray
    seen: IntArray

    def __len__(self) -> int:
        """Number of requests."""
        return len(self.events)

    def at(self, positions: IntArray) -> "Requests":
        """Some of the requests, in the order of `positions` (n,)."""
        return Requests(self.dataset, self.events[positions], self.history[positions], self.seen[positions])

    @property
    def texts(self) -> list[str]:
        """The text of each request."""
        return [self.dataset.distinct_texts[number] for number in self.dataset.texts[self.events]]

    @property
    def user_rows(self) -> IntArray:
        """The row of each request's user, (m,)."""
        rows: IntArray = self.dataset.user_rows[self.events]
        return rows

    def labelled(self, task: Task) -> BoolArray:
        """Which requests have a label of the task, (m,)."""
        mask: BoolArray = self.dataset.labels[task.name].mask[self.events]
        return mask

    def labels(self, task: Task) -> NDArray[np.float32] | BoolArray:
        """The labels of those that have one; see `TaskLabels.of`."""
        labels = self.dataset.labels[task.name]
        return labels.of(self.events[self.labelled(task)], self.dataset.item_rows)


def split_requests(dataset: Dataset, split: Split) -> Requests:
    """The requests of a split, one per event."""
    return requests_before(dataset, np.flatnonzero(dataset.split == split))


def requests_before(dataset: Dataset, events: IntArray) -> Requests:
    """The requests made just before `events` (m,)."""
    rows = dataset.request_encoder().rows(dataset.requests(events))
    none = np.zeros((len(events), 0), dtype=np.int64)
    return Requests(dataset, events, rows.get(HISTORY, none), rows.get(SEEN, none))
