"""Whether a text encoder in reduced precision predicts as float32 does, task by task, on the validation requests.

Two things are required of every task: its predictions stay the same, and its first metric loses no more than its noise.
If the scenario has query templates, the requests are evaluated twice: with the user's profile, and with a typed query,
which is a template filled from the item that followed.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from polytask.contract.contract import TaskFigures
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests, split_requests
from polytask.evaluation.evaluate import scores_with
from polytask.evaluation.measures import lower_is_better, primary_metric, task_statistics
from polytask.metrics.bootstrap import sampled
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Task
from polytask.tasks.metrics import metrics_of

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Encode = Callable[[list[str]], FloatArray]

AGREEMENT = 0.95
# Validation requests, chosen evenly: enough for the bound above, and for an export that takes seconds.
REQUESTS = 1000
RESAMPLES = 1000
DIGITS = 4


class PrecisionGate:
    """The validation requests of a data set, and the model's scores for them with text vectors of float32."""

    def __init__(self, dataset: Dataset, model: MultiTaskModel) -> None:
        self._dataset, self._model = dataset, model
        self._requests, self._texts = gate_requests(dataset)
        self._float32 = self._scores(dataset.text_vectors[self._texts])

    def figures(self, encode: Encode) -> dict[str, TaskFigures]:
        """Compare each task's predictions with another text encoder: `encode` texts (n,) -> vectors (n, D) float32."""
        needed, places = np.unique(self._texts, return_inverse=True)
        scores = self._scores(encode([self._dataset.distinct_texts[text] for text in needed])[places])
        tasks = self._dataset.scenario.tasks
        return {
            task.name: task_figures(self._requests, task, self._float32[task.name], scores[task.name]) for task in tasks
        }

    def _scores(self, vectors: FloatArray) -> dict[str, FloatArray]:
        """Logits per task, (m, N + 1) or (m, C), with text vectors (m, D)."""
        return scores_with(self._model, self._requests.history, vectors)


def gate_requests(dataset: Dataset) -> tuple[Requests, IntArray]:
    """The requests (m,) of the gate, and which of the data set's distinct texts each has."""
    every = split_requests(dataset, "validation")
    chosen = np.unique(np.linspace(0, len(every) - 1, REQUESTS).astype(np.int64)) if len(every) else every.events
    events = every.events[chosen]
    random = np.random.default_rng(dataset.scenario.training.seed)
    query = dataset.queries.draw(dataset.item_rows[events], random)
    typed = query >= 0
    texts = np.concatenate([dataset.texts[events], dataset.query_texts[query[typed], dataset.contexts[events[typed]]]])
    chosen = np.concatenate([chosen, chosen[typed]])
    return every.at(chosen), texts


def task_figures(requests: Requests, task: Task, float32: FloatArray, other: FloatArray) -> TaskFigures:
    """Compare the logits of one task, both (m, N + 1) or (m, C), on m requests."""
    metric = primary_metric(task)
    before, after = (task_statistics(requests, task, scores).get(metric) for scores in (float32, other))
    figures = TaskFigures(agreement=_rounded(agreement(requests, task, float32, other)), metric=metric)
    if before is None or after is None:
        return figures
    values = sampled({"before": before, "after": after}, len(requests), RESAMPLES)
    lost = values["after"] - values["before"]
    if metric not in lower_is_better():
        lost = values["before"] - values["after"]
    low, high = lost.interval()
    return figures.model_copy(
        update={
            "float32": _rounded(values["before"].value),
            "loss": _rounded(lost.value),
            "interval": (_rounded(low), _rounded(high)),
        }
    )


def agreement(requests: Requests, task: Task, one: FloatArray, other: FloatArray) -> float:
    """Return the agreement of the predictions of one task, 1 where all agree; the kind defines what is compared."""
    return metrics_of(task).agreement(requests, task, one, other)


def failures(figures: Mapping[str, TaskFigures]) -> list[str]:
    """What is not good enough, and for which task; empty where all is."""
    found = []
    for name, task in figures.items():
        if task.agreement < AGREEMENT:
            found.append(f"{name}: agreement {task.agreement} with float32, at least {AGREEMENT} is wanted")
        if task.interval is not None and task.interval[0] > 0:
            found.append(f"{name}: {task.metric} loses {task.loss}, beyond its noise {task.interval}")
    return found


def _rounded(value: float) -> float:
    return round(value, DIGITS)
