"""What serving and the scenario know about the kind `co_interaction`."""

from typing import TYPE_CHECKING

import numpy as np

from polytask.scenario.names import USERS
from polytask.scenario.schema import Scenario, Task
from polytask.tasks.shapes import RankedList

if TYPE_CHECKING:
    from polytask.data.labels import LabelEvents, TaskLabels


class CoInteraction(RankedList):
    """The users who interact with the same items, best first."""

    name = "co_interaction"
    summary = "the users with an interaction on the same item in the training split."
    learning = "polytask.tasks.co_interaction.learning:CoInteractionLearning"
    metrics = "polytask.tasks.co_interaction.metrics:CoInteractionMetrics"
    catalogue = USERS
    reads_column = False
    baselines = ("most_active", "user_knn")

    def check_label(self, scenario: Scenario, where: str, task: Task) -> None:
        """Check that the label names no column."""
        if task.label.column is not None:
            raise ValueError(f"{where}.label.column: {task.label.column!r}; kind {self.name!r} has no column")

    def labels(self, task: Task, events: "LabelEvents") -> "TaskLabels":
        """Return per item the users (U + 1,) with a training event on it that fulfils `label.where`.

        An event has a label if another user than its own is among them.
        """
        from polytask.data.labels import TaskLabels

        items, users = events.item_rows, events.user_rows
        chosen = events.train & events.fulfilled
        users_of_item = np.zeros((events.items + 1, events.users + 1), dtype=np.bool_)
        users_of_item[items[chosen], users[chosen]] = True
        others = users_of_item.sum(axis=1)[items] - users_of_item[items, users]
        return TaskLabels(mask=events.fulfilled & (others > 0), by_item=users_of_item)


KIND = CoInteraction()
