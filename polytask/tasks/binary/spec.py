"""What serving and the scenario know about the kind `binary`."""

from typing import TYPE_CHECKING

import numpy as np

from polytask.errors import DataError
from polytask.scenario.names import HIDDEN
from polytask.scenario.schema import Task
from polytask.tasks.kind import BoolArray, FloatArray
from polytask.tasks.shapes import Probability

if TYPE_CHECKING:
    import pandas as pd


class Binary(Probability):
    """The probability of yes."""

    name = "binary"
    summary = "a probability."
    learning = "polytask.tasks.binary.learning:BinaryLearning"
    metrics = "polytask.tasks.binary.metrics:BinaryMetrics"
    takes_threshold = True
    baselines = ("majority", "user_mean", "tfidf_logistic")

    def numbers(self, task: Task, column: "pd.Series", hidden: bool) -> tuple[FloatArray, BoolArray]:
        """Return 0 or 1, (n,): the values themselves, or whether they reach `label.at_least`."""
        numbers, present = super().numbers(task, column, hidden)
        if task.label.at_least is not None:
            numbers = (numbers >= task.label.at_least).astype(np.float32)
        if not np.isin(numbers, (0, 1)).all():
            wrong = np.unique(numbers[~np.isin(numbers, (0, 1))])[:5].tolist()
            shown = HIDDEN if hidden else ", ".join(f"{value:g}" for value in wrong)
            raise DataError(f"task {task.name!r}: {shown} in the data; allowed: 0, 1")
        return numbers, present


KIND = Binary()
