"""What the user interface shows of one task, out of what `evaluate_model` wrote."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from polytask.errors import DataError


@dataclass(frozen=True)
class Charts:
    """Test metrics by name, a ROC curve (`fpr`, `tpr`, `threshold`) and confusion matrix, empty where there is none."""

    metrics: dict[str, float]
    roc: dict[str, list[float]]
    categories: list[str]
    confusion: list[list[int]]


def charts_of(evaluation: Path, task: str) -> Charts:
    """The charts of a task on the test split. A metric that is not a number is left out: an artefact cannot hold it."""
    test = json.loads(evaluation.read_text(encoding="utf-8"))["test"]
    if task not in test["metrics"]:
        raise DataError(f"{evaluation}: no task {task!r}; allowed: {', '.join(test['metrics'])}")
    metrics = {name: value for name, value in test["metrics"][task].items() if math.isfinite(value)}
    return Charts(metrics, **test["classification"][task])
