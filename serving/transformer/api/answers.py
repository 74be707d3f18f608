"""From the model's tensors to the response: rows become external ids and titles, masked rows are left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.contract.names import FLAGS, PRIORITY, PRIORITY_TASKS, SLATE_IDS, SLATE_SCORES, SLATE_TASKS, SLATE_TITLES
from polytask.contract.tensors import MASKED_SCORE, task_outputs
from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.errors import ContractError
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Scenario, Task
from polytask.tasks.kind import kind_of
from polytask.text.templates import fill
from serving.transformer.api.wire import key_datatype
from serving.transformer.concurrency.bounded_cache import BoundedCache

# Name -> datatype of the tensors of a merged slate, (B, S), and of the priorities it was merged by, (B, k).
SLATE_TYPES = {
    SLATE_TASKS: "BYTES",
    SLATE_IDS: "BYTES",
    SLATE_TITLES: "BYTES",
    SLATE_SCORES: "FP32",
    PRIORITY_TASKS: "BYTES",
    PRIORITY: "FP32",
}

TITLES_BYTES = 32 * 2**20


@dataclass(frozen=True)
class ResponseTensor:
    """One tensor of the response. `datatype` is INT64, FP32, BOOL or BYTES (then `values` holds str objects)."""

    name: str
    datatype: str
    values: NDArray[Any]


def response_names(scenario: Scenario) -> dict[str, str | None]:
    """Name of every tensor of the response, those of a slate left out -> its task, None for the flags."""
    names: dict[str, str | None] = {
        f"{task.name}_{suffix}": task.name for task in scenario.tasks for suffix in kind_of(task).response
    }
    return {**names, **dict.fromkeys(FLAGS)}


def response_types(scenario: Scenario) -> dict[str, tuple[str, list[int]]]:
    """Name -> (datatype, shape) of every tensor of the response; -1 is the batch, or a length chosen by the caller."""
    types: dict[str, tuple[str, list[int]]] = {}
    for task in scenario.tasks:
        width = kind_of(task).width(task)
        types[f"{task.name}_ids"] = (_key_datatype(scenario, task), [-1, width])
        types[f"{task.name}_titles"] = types[f"{task.name}_labels"] = ("BYTES", [-1, width])
        types[f"{task.name}_scores"] = types[f"{task.name}_values"] = ("FP32", [-1, width])
    types.update(dict.fromkeys(FLAGS, ("BOOL", [-1, 1])))
    slate = {name: (datatype, [-1, -1]) for name, datatype in SLATE_TYPES.items()}
    return {**{name: types[name] for name in response_names(scenario)}, **slate}


def model_outputs(scenario: Scenario, tasks: Sequence[str]) -> list[str]:
    """Names of the model's output tensors of `tasks`."""
    return [spec.name for task in scenario.tasks if task.name in tasks for spec in task_outputs(task)]


class ResponseWriter:
    """Writes responses with the catalogues of one contract."""

    def __init__(self, scenario: Scenario, catalogues: Mapping[str, Catalogue]) -> None:
        self._scenario = scenario
        self._catalogues = catalogues
        self._titles: BoundedCache[tuple[str, int], str] = BoundedCache(TITLES_BYTES)
        self._ids = cache(self._make_ids)

    def task(self, task: Task, tensors: Mapping[str, NDArray[Any]], counts: Sequence[int]) -> list[ResponseTensor]:
        """The response tensors of one task from the model's: (B, K) rows and scores, (B, C) scores or (B, 1) values.

        `counts` (B,) are the wanted lengths of the lists; a shorter list is padded with -1 or '' and `MASKED_SCORE`.
        """
        if task.catalogue is not None:
            return self._retrieval(task, tensors[f"{task.name}_ids"], tensors[f"{task.name}_scores"], counts)
        values = kind_of(task).respond(task, tensors)
        return [
            ResponseTensor(f"{task.name}_{suffix}", "BYTES" if found.dtype == np.object_ else "FP32", found)
            for suffix, found in values.items()
        ]

    def _retrieval(
        self, task: Task, rows: NDArray[Any], scores: NDArray[Any], counts: Sequence[int]
    ) -> list[ResponseTensor]:
        assert task.catalogue is not None
        catalogue = self._catalogues[task.catalogue]
        rows, kept = _front(rows, scores, counts)
        if rows.min(initial=PADDING_ROW) < 0 or rows.max(initial=PADDING_ROW) > len(catalogue):
            listed = rows[rows != PADDING_ROW]
            raise ContractError(
                f"{task.name}_ids: rows {listed.min()} to {listed.max()}, "
                f"catalogue {catalogue.name} has rows 1 to {len(catalogue)}"
            )
        titles = np.empty(rows.shape, dtype=object)
        titles.ravel()[:] = [self._title(task.catalogue, row) for row in rows.ravel().tolist()]
        integer = _key_datatype(self._scenario, task) == "INT64"
        return [
            ResponseTensor(
                f"{task.name}_ids", "INT64" if integer else "BYTES", self._ids(task.catalogue, integer)[rows]
            ),
            ResponseTensor(f"{task.name}_scores", "FP32", kept),
            ResponseTensor(f"{task.name}_titles", "BYTES", titles),
        ]

    def _make_ids(self, name: str, integer: bool) -> NDArray[Any]:
        """External id of each row, of padding too."""
        ids = [-1 if integer else "", *self._catalogues[name].ids]
        return np.array(ids, dtype=np.int64 if integer else object)

    def _title(self, name: str, row: int) -> str:
        if row == PADDING_ROW:
            return ""
        title = self._titles.get((name, row))
        if title is None:
            title = title_of(self._scenario, self._catalogues[name], row)
            self._titles.keep((name, row), title)
        return title


def _front(rows: NDArray[Any], scores: NDArray[Any], counts: Sequence[int]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """The lists (B, max(counts)): what is listed, in its order; padding behind it and behind the wanted length."""
    width = max(counts)
    whole, best = rows[:, :width], scores[:, :width]
    if min(counts) == width <= rows.shape[1] and whole.all() and best.min() > MASKED_SCORE / 2:
        return whole, best.astype(np.float32, copy=False)  # nothing is masked and all are as long: nearly always
    listed = (scores > MASKED_SCORE / 2) & (rows != PADDING_ROW)
    order = np.argsort(~listed, axis=1, kind="stable")[:, :width]
    wanted = np.minimum(listed.sum(axis=1), counts)[:, None] > np.arange(order.shape[1])
    rows = np.where(wanted, np.take_along_axis(rows, order, axis=1), PADDING_ROW)
    kept = np.where(wanted, np.take_along_axis(scores, order, axis=1), np.float32(MASKED_SCORE))
    return rows, kept.astype(np.float32, copy=False)


def title_of(scenario: Scenario, catalogue: Catalogue, row: int) -> str:
    """The title of an entity in responses: of an item its first text column; of a user its profile text where the
    scenario has `text.user_titles`, else ''.
    """
    if catalogue.name != ITEMS:
        if not scenario.text.user_titles:
            return ""
        return fill(scenario.text, scenario.text.profile, catalogue.record(row))
    column = scenario.items.title_column
    if column is None:
        return str(catalogue.external(row))
    value = catalogue.table[column].iat[row - 1]
    return value if isinstance(value, str) else ""


def flag(name: str, values: Sequence[bool]) -> ResponseTensor:
    """A flag of each row as a BOOL tensor (B, 1)."""
    return ResponseTensor(name, "BOOL", np.array(values, dtype=np.bool_)[:, None])


def _key_datatype(scenario: Scenario, task: Task) -> str:
    table = scenario.items if task.catalogue == ITEMS else scenario.entities.users
    return key_datatype(table)
