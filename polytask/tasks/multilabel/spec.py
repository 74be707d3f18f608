"""What serving and the scenario know about the kind `multilabel`."""

from typing import TYPE_CHECKING

import numpy as np

from polytask.scenario.schema import Task
from polytask.tasks.kind import BoolArray, FloatArray
from polytask.tasks.shapes import ClassScores

if TYPE_CHECKING:
    import pandas as pd


class Multilabel(ClassScores):
    """A score per class; several classes may be true."""

    name = "multilabel"
    summary = "a score per class."
    learning = "polytask.tasks.multilabel.learning:MultilabelLearning"
    metrics = "polytask.tasks.multilabel.metrics:MultilabelMetrics"
    label_types = ("string_list",)
    labels_by_item = True
    several_classes = True
    baselines = ("popularity", "user_histogram")

    def numbers(self, task: Task, column: "pd.Series", hidden: bool) -> tuple[FloatArray, BoolArray]:
        """Return 0/1 per class, (n, C). An empty list of classes is no label."""
        present = column.notna().to_numpy(dtype=np.bool_)
        flags = np.zeros((len(column), len(task.classes or ())), dtype=np.float32)
        for row in np.flatnonzero(present):
            flags[row, self.class_numbers(task, column.iloc[row], hidden)] = 1
        return flags, np.asarray(flags.any(axis=1))


KIND = Multilabel()
