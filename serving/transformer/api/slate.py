"""One list over all tasks: entries of lists, classes and binary tasks merged by priority times relative probability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.contract.names import PRIORITY, PRIORITY_TASKS, SLATE_IDS, SLATE_SCORES, SLATE_TASKS, SLATE_TITLES
from polytask.contract.tensors import MASKED_SCORE
from polytask.scenario.schema import Scenario, Task
from polytask.tasks.kind import kind_of
from serving.transformer.api.answers import SLATE_TYPES, ResponseTensor


@dataclass(frozen=True)
class Entry:
    """An entry of a slate: `id` is an external id as text, or a label."""

    task: str
    id: str
    title: str
    score: float


def mergeable(scenario: Scenario, tasks: Sequence[str]) -> tuple[str, ...]:
    """Those of some tasks that have entries to show: a task with a number only has none."""
    return tuple(name for name in tasks if kind_of(scenario.task(name)).merges)


def merge(scenario: Scenario, priority: Mapping[str, float], answers: Mapping[str, Sequence[Entry]]) -> list[Entry]:
    """The entries of all tasks, best first, each with the score priority * p / p_best.

    The entries of each task have its own scores, best first; p is the probability of an entry among its
    task's: softmax of the scores in a list, so p / p_best = exp(score - best); the class probability; in a binary task
    p itself, as it has no other entry to be compared with. Equal scores keep the order of `priority`, and within a
    task its own order.
    """
    merged = [
        Entry(entry.task, entry.id, entry.title, priority[name] * strength)
        for name in priority
        for entry, strength in zip(answers[name], _strengths(scenario.task(name), answers[name]), strict=True)
    ]
    return sorted(merged, key=lambda entry: -entry.score)


def _strengths(task: Task, entries: Sequence[Entry]) -> NDArray[np.float64]:
    return kind_of(task).strengths(np.array([entry.score for entry in entries], dtype=np.float64))


def entries_of(task: Task, tensors: Mapping[str, ResponseTensor], row: int) -> list[Entry]:
    """The entries of one row of a task's response tensors."""
    scores = tensors[f"{task.name}_scores"].values[row].tolist()
    if task.catalogue is not None:
        ids, titles = (tensors[f"{task.name}_{what}"].values[row] for what in ("ids", "titles"))
        return [
            Entry(task.name, str(external), title, score)
            for external, title, score in zip(ids, titles, scores, strict=True)
            if score > MASKED_SCORE / 2
        ]
    if kind_of(task).listed_output is None:
        return [Entry(task.name, task.name, task.title, scores[0])]
    labels = tensors[f"{task.name}_labels"].values[row]
    return [Entry(task.name, label, label, score) for label, score in zip(labels, scores, strict=True)]


def slate_tensors(
    slates: Sequence[Sequence[Entry]], sizes: Sequence[int], tasks: Sequence[str], priority: NDArray[np.float64]
) -> list[ResponseTensor]:
    """The slates (B,) cut to `sizes` (B,), padded with '' and `MASKED_SCORE`, and the priorities (B, k) of `tasks`."""
    shape = (len(slates), max(sizes))
    texts = {name: np.full(shape, "", dtype=object) for name in (SLATE_TASKS, SLATE_IDS, SLATE_TITLES)}
    scores = np.full(shape, MASKED_SCORE, dtype=np.float32)
    for row, (slate, size) in enumerate(zip(slates, sizes, strict=True)):
        for place, entry in enumerate(slate[:size]):
            for name, text in zip(texts, (entry.task, entry.id, entry.title), strict=True):
                texts[name][row, place] = text
            scores[row, place] = entry.score
    names = np.array([list(tasks)] * len(slates), dtype=object)
    made = {**texts, SLATE_SCORES: scores, PRIORITY_TASKS: names, PRIORITY: priority.astype(np.float32)}
    return [ResponseTensor(name, SLATE_TYPES[name], values) for name, values in made.items()]
