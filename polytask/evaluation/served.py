"""Scores as serving ranks by them: items that joined after training stand below the first of the others."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polytask.data.tables import ITEMS
from polytask.scenario.schema import Task
from polytask.updates.cold_calibration import listed_scores, masked_scores

Scores = NDArray[np.float32]
IntArray = NDArray[np.int64]

NO_ROWS: IntArray = np.zeros(0, dtype=np.int64)


def served_scores(
    scores: Mapping[str, Scores], tasks: Sequence[Task], seen: IntArray, new_rows: IntArray
) -> dict[str, Scores]:
    """Logits per task as the served graph lists them, with the item rows `new_rows` (n,) as the contract's new items.

    `seen` (m, S) are the item rows that serving leaves out, 0 for padding: what is left out sets no bar.
    """
    found = dict(scores)
    if len(new_rows):
        for task in tasks:
            if task.catalogue == ITEMS and task.name in found:
                found[task.name] = listed_scores(masked_scores(found[task.name], seen), new_rows)
    return found


def without_rows(scores: Scores, rows: IntArray) -> Scores:
    """Scores (m, N + 1) with `rows` (n,) out of the race."""
    left = scores.copy()
    left[:, rows] = -np.inf
    return left
