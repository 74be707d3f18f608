"""What serving and the scenario know about the kind `retrieval`."""

from typing import TYPE_CHECKING

import numpy as np

from polytask.scenario.checks import check_label_known
from polytask.scenario.names import INTERACTIONS, ITEMS
from polytask.scenario.schema import Scenario, Task
from polytask.tasks.shapes import RankedList

if TYPE_CHECKING:
    from polytask.data.labels import LabelEvents, TaskLabels


class Retrieval(RankedList):
    """The items of the next event, best first."""

    name = "retrieval"
    summary = "the best items of a catalogue."
    learning = "polytask.tasks.retrieval.learning:RetrievalLearning"
    metrics = "polytask.tasks.retrieval.metrics:RetrievalMetrics"
    catalogue = ITEMS
    baselines = ("popularity", "markov", "item_knn", "ease", "ials")
    follows_items = True

    def check_label(self, scenario: Scenario, where: str, task: Task) -> None:
        """Check that the label is the item of the event."""
        check_label_known(scenario, where, task)
        items, column = scenario.entities.items, task.label.column
        if task.label.table != INTERACTIONS or items is None or column != items.key:
            raise ValueError(f"{where}.label: {column!r} is not the key of the items that a retrieval task predicts")

    def labels(self, task: Task, events: "LabelEvents") -> "TaskLabels":
        """Return the item row of each event; an unknown item is no label."""
        from polytask.data.catalogue import PADDING_ROW
        from polytask.data.labels import TaskLabels

        rows = events.item_rows
        return TaskLabels(mask=events.fulfilled & (rows != PADDING_ROW), values=rows.astype(np.float32))


KIND = Retrieval()
