"""Scores as serving ranks by them: items that were added after training rank below the first of the others."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.contract.tensors import MASKED_SCORE
from polytask.data.catalogue import PADDING_ROW
from polytask.model.cold_start import below_the_first
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Task

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


def masked_scores(logits: NDArray[np.float32], seen: NDArray[np.int64]) -> NDArray[np.float32]:
    """What serving leaves out: the rows a user has seen (m, S), which padding fills up with row 0, and padding."""
    scores = logits.copy()
    scores[:, PADDING_ROW] = MASKED_SCORE
    np.put_along_axis(scores, seen, MASKED_SCORE, axis=1)
    return scores


def listed_scores(
    logits: NDArray[np.float32], rows: NDArray[np.int64], offset: float = 0.0, capped: bool = True
) -> NDArray[np.float32]:
    """The scores that lists are made of: `offset` added to the items `rows`, and these kept below the first others."""
    scores = logits.copy()
    scores[:, rows] = np.where(scores[:, rows] > MASKED_SCORE / 2, scores[:, rows] + offset, MASKED_SCORE)
    if not capped:
        return scores
    new = torch.zeros(logits.shape[1], dtype=torch.bool)
    new[torch.from_numpy(rows)] = True
    lowered: NDArray[np.float32] = below_the_first(torch.from_numpy(scores), new).numpy()
    return lowered
