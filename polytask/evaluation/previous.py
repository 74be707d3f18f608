"""An earlier model of the same scenario as a method, to compare with; its catalogues may have been shorter."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polytask.catalogue import PADDING_ROW
from polytask.checkpoint import language_model_of, load_checkpoint
from polytask.dataset import Dataset
from polytask.errors import DataError
from polytask.evaluation.evaluate import model_scores
from polytask.evaluation.requests import Requests
from polytask.evaluation.study import Method
from polytask.evaluation.variants import with_vectors
from polytask.language_model import LanguageModel
from polytask.tables import ITEMS

Scores = NDArray[np.float32]


def previous_method(checkpoint: Path, dataset: Dataset, language_model: LanguageModel) -> Method:
    """The model of a checkpoint folder, for the tasks that it shares with the data set's scenario.

    It reads the same texts, through the language model it was trained with: `language_model` or a tuned one. Rows that
    were appended to a catalogue since are unknown to it: in a history they are left out, in a list they come last.
    Raises ContractError for another encoder, DataError where no task is the same.
    """
    scenario = dataset.scenario
    own = language_model_of(checkpoint, scenario)
    model = load_checkpoint(checkpoint, own.sha256)
    if own.sha256 != language_model.sha256:
        dataset = with_vectors(dataset, own.vectors(dataset.distinct_texts)[0])
    known = {task.name: task.kind for task in model.scenario.tasks}
    shared = [task for task in scenario.tasks if known.get(task.name) == task.kind]
    if not shared:
        raise DataError(f"{checkpoint}: tasks {', '.join(known)}; none of them is in scenario {scenario.name!r}")
    items = len(model.catalogues().vectors.get(ITEMS, ()))

    def answer(requests: Requests) -> Mapping[str, Scores]:
        history = np.where(requests.history < items, requests.history, PADDING_ROW)
        scores = model_scores(model, dataset, requests.events, history)
        rows = {name: len(catalogue) + 1 for name, catalogue in requests.dataset.catalogues.items()}
        return {task.name: _widened(scores[task.name], rows.get(task.catalogue or "", 0)) for task in shared}

    return answer


def _widened(scores: Scores, rows: int) -> Scores:
    """Scores (m, n) with columns of -inf up to (m, rows)."""
    missing = max(0, rows - scores.shape[1])
    return np.pad(scores, ((0, 0), (0, missing)), constant_values=-np.inf) if missing else scores
