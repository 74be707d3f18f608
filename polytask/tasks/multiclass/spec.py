"""What serving and the scenario know about the kind `multiclass`."""

from typing import TYPE_CHECKING

import numpy as np

from polytask.scenario.schema import Task
from polytask.tasks.kind import BoolArray, FloatArray
from polytask.tasks.shapes import ClassScores

if TYPE_CHECKING:
    import pandas as pd


class Multiclass(ClassScores):
    """One of several classes."""

    name = "multiclass"
    summary = "one of several classes."
    learning = "polytask.tasks.multiclass.learning:MulticlassLearning"
    metrics = "polytask.tasks.multiclass.metrics:MulticlassMetrics"
    label_types = ("string",)
    baselines = ("majority", "tfidf_logistic")

    def numbers(self, task: Task, column: "pd.Series", hidden: bool) -> tuple[FloatArray, BoolArray]:
        """Return the number of each row's class, (n,)."""
        present = column.notna().to_numpy(dtype=np.bool_)
        numbers = np.zeros(len(column), dtype=np.float32)
        numbers[present] = self.class_numbers(task, column[present], hidden)
        return numbers, present


KIND = Multiclass()
