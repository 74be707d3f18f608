"""An earlier model of the same scenario as a method, to compare with; its catalogues may have been shorter."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.data.dataset import Dataset, with_vectors
from polytask.data.evaluation_requests import Requests
from polytask.errors import DataError
from polytask.evaluation.evaluate import model_scores
from polytask.evaluation.served import served_scores
from polytask.evaluation.study import Method
from polytask.model.cold_start import load_cold_start
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Task
from polytask.text.language_model import LanguageModel
from polytask.training.checkpoint import language_model_of, load_checkpoint

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]


def previous_method(
    checkpoint: Path,
    dataset: Dataset,
    language_model: LanguageModel,
    catalogues: Mapping[str, Catalogue] | None = None,
) -> Method:
    """The model of a checkpoint folder, for the tasks that it shares with the data set's scenario.

    It reads the same texts, through the language model it was trained with: `language_model` or a tuned one.
    `catalogues` are those that its rows stand for; by default the data set's, to which rows may have been appended
    since. What it does not know is left out of a history and comes last in a list; what joined after its training
    stands where serving lists it.
    Raises ContractError for another encoder, DataError where no task is the same.
    """
    scenario = dataset.scenario
    own = language_model_of(checkpoint, scenario)
    model = load_checkpoint(checkpoint, own.sha256)
    if own.sha256 != language_model.sha256:
        dataset = with_vectors(dataset, own.vectors(dataset.distinct_texts)[0])
    _, new_rows = load_cold_start(checkpoint)
    known = {task.name: task for task in model.scenario.tasks}
    shared = [task for task in scenario.tasks if task.name in known and _asks_the_same(task, known[task.name])]
    if not shared:
        raise DataError(f"{checkpoint}: tasks {', '.join(known)}; none of them is in scenario {scenario.name!r}")
    sizes = {name: len(vectors) - 1 for name, vectors in model.catalogues().vectors.items()}

    def answer(requests: Requests) -> Mapping[str, Scores]:
        requested = requests.dataset.catalogues
        theirs = {name: _rows(catalogue, name, sizes, catalogues) for name, catalogue in requested.items()}
        history, seen = requests.history, requests.seen
        if ITEMS in theirs:
            history, seen = theirs[ITEMS][history], theirs[ITEMS][seen]
        scores = model_scores(model, dataset, requests.events, history)
        scores = served_scores(scores, shared, seen, new_rows)
        return {
            task.name: _at(scores[task.name], theirs[task.catalogue]) if task.catalogue else scores[task.name]
            for task in shared
        }

    return answer


def _asks_the_same(one: Task, other: Task) -> bool:
    return (one.kind, one.catalogue, one.classes) == (other.kind, other.catalogue, other.classes)


def _rows(
    catalogue: Catalogue, name: str, sizes: Mapping[str, int], catalogues: Mapping[str, Catalogue] | None
) -> Rows:
    """For each row of a catalogue (n + 1,) the row of the earlier model, the padding row where it knows none."""
    if catalogues is None:
        rows = np.arange(len(catalogue) + 1)
        return np.where(rows <= sizes.get(name, 0), rows, PADDING_ROW)
    earlier = catalogues.get(name)
    known = np.zeros(len(catalogue), dtype=np.int64) if earlier is None else earlier.rows(catalogue.ids)
    return np.concatenate([np.array([PADDING_ROW]), known])


def _at(scores: Scores, rows: Rows) -> Scores:
    """Scores (m, n) of the earlier model's rows as scores (m, len(rows)), -inf where it has none."""
    moved = scores[:, rows]
    moved[:, 1:][:, rows[1:] == PADDING_ROW] = -np.inf
    return moved
