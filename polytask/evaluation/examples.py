"""Ten requests with all their predictions, for manual review."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests, split_requests
from polytask.evaluation.evaluate import request_scores
from polytask.evaluation.measures import listed_rows
from polytask.evaluation.served import NO_ROWS
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Task
from polytask.tasks.metrics import metrics_of
from polytask.text.templates import fill, item_text

EXAMPLES = 10
HISTORY_SHOWN = 8
ANSWERS_SHOWN = 5


def examples(model: MultiTaskModel, dataset: Dataset, new_rows: NDArray[np.int64] = NO_ROWS) -> list[dict[str, Any]]:
    """Per example: user, request text, newest items of the history, the user's action, and the predictions.

    Predictions of a task: `listed` titles, each with whether it is right, and the rank of the target; or `classes` with
    their probability; or a `value`, next to the `label`. `judged` is True if the request has a label.
    `new_rows` (n,) are item rows that were added after training.
    """
    requests = split_requests(dataset, "test")
    chosen = np.unique(np.linspace(0, len(requests) - 1, EXAMPLES).astype(np.int64))
    some = requests.at(chosen)
    scores = request_scores(model, some, new_rows)
    users = dataset.catalogues["users"]
    found: list[dict[str, Any]] = []
    for position, text in enumerate(some.texts):
        own = some.at(np.array([position]))
        item = int(dataset.item_rows[own.events[0]])
        found.append(
            {
                "user": str(users.external(int(own.user_rows[0]))),
                "text": text,
                "history": [
                    title_of(dataset, ITEMS, int(row)) for row in own.history[0, -HISTORY_SHOWN:] if row != PADDING_ROW
                ],
                "target": title_of(dataset, ITEMS, item) if item != PADDING_ROW else None,
                "tasks": {
                    task.name: _answers(own, task, scores[task.name][position : position + 1])
                    for task in dataset.scenario.tasks
                },
            }
        )
    return found


def title_of(dataset: Dataset, catalogue: str, row: int) -> str:
    """An item by its title, or else its text; a user by its profile text where `text.user_titles`, else by its key."""
    table: Catalogue = dataset.catalogues[catalogue]
    text = dataset.scenario.text
    if catalogue != ITEMS:
        return fill(text, text.profile, table.record(row)) if text.user_titles else str(table.external(row))
    column = dataset.scenario.items.title_column
    return str(table.table[column].iat[row - 1]) if column is not None else item_text(text, table.record(row))


def _answers(request: Requests, task: Task, scores: NDArray[np.float32]) -> dict[str, Any]:
    judged = bool(request.labelled(task)[0])
    label: Any = request.labels(task)[0] if judged else None
    if task.catalogue is not None:
        order = [int(row) for row in listed_rows(request, task, scores, scores.shape[1])[0] if row != PADDING_ROW]
        listed = [
            {"title": title_of(request.dataset, task.catalogue, row), "right": judged and _is_right(label, row)}
            for row in order[:ANSWERS_SHOWN]
        ]
        single = judged and np.ndim(label) == 0 and int(label) in order
        return {"judged": judged, "listed": listed, "rank": order.index(int(label)) + 1 if single else None}
    return {"judged": judged, **metrics_of(task).example(task, scores, label)}


def _is_right(label: Any, row: int) -> bool:
    """A label of lists is the row itself, or a row of booleans over the catalogue."""
    return bool(label[row]) if np.ndim(label) else int(label) == row
