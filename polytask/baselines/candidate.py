"""A baseline is a generator of candidates: one per setting that is tried on validation, sharing what they can."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.scenario.schema import Task

Scores = NDArray[np.float32]
Settings = dict[str, float | int | str]


@dataclass(frozen=True)
class Candidate:
    """One fitted setting. `score` gives what `task_statistics` takes: (m, N + 1), (m, C) or (m, 1).

    Fitted are training events alone; of a request it reads what the model reads too.
    """

    settings: Settings
    score: Callable[[Requests], Scores]


Baseline = Callable[[Dataset, Task], Iterator[Candidate]]
