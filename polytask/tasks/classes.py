"""What reports of all kinds with classes share."""

from typing import Any

import numpy as np
from scipy.special import softmax

from polytask.scenario.schema import Task
from polytask.tasks.metrics import Scores

SHOWN = 5


def likely_classes(task: Task, scores: Scores) -> list[dict[str, Any]]:
    """Return name and probability of the most probable classes, from the logits (1, C) of one request."""
    shares = softmax(scores[0])
    best = np.argsort(-shares, kind="stable")[:SHOWN]
    return [{"name": (task.classes or ())[n], "probability": float(shares[n])} for n in best]
