"""Template queries: what a user might have typed, drawn from the item that followed."""

from collections.abc import Mapping
from itertools import product
from string import Formatter

import numpy as np
from numpy.typing import NDArray

from polytask.data.catalogue import Catalogue
from polytask.scenario.schema import Text
from polytask.text.templates import fill, is_missing


def item_queries(text: Text, item: Mapping[str, object]) -> list[str]:
    """All queries that fit an item, each once.

    A template gives one per combination of the values of its list columns, and of the phrases for each value.
    """
    queries: dict[str, None] = {}
    for template in text.queries:
        columns = [name for _, name, _, _ in Formatter().parse(template) if name]
        choices = [_choices(text, column, item.get(column)) for column in columns]
        for values in product(*choices):
            queries[fill(text, template, dict(zip(columns, values, strict=True)))] = None
    return list(queries)


class QueryTable:
    """The distinct queries of a catalogue and, for each item row, which of them fit it."""

    def __init__(self, text: Text, items: Catalogue | None) -> None:
        """Without items there is no query, and none fits."""
        number: dict[str, int] = {}
        fitting: list[int] = []
        records = [items.record(row) for row in range(1, len(items) + 1)] if items is not None else []
        self._start = np.zeros(len(records) + 2, dtype=np.int64)
        for row, record in enumerate(records, start=1):
            queries = item_queries(text, record)
            fitting += [number.setdefault(query, len(number)) for query in queries]
            self._start[row + 1] = len(fitting)
        self._fitting = np.array(fitting, dtype=np.int64)
        self.queries = list(number)

    def draw(self, item_rows: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """A random fitting query per item row (n,) -> numbers into `queries` (n,), -1 where none fits."""
        start, count = self._start[item_rows], self._start[item_rows + 1] - self._start[item_rows]
        drawn = np.full(len(item_rows), -1, dtype=np.int64)
        some = count > 0
        drawn[some] = self._fitting[start[some] + (random.random(int(some.sum())) * count[some]).astype(np.int64)]
        return drawn


def _choices(text: Text, column: str, value: object) -> list[object]:
    """The values of a column of one item, each in all the phrases that the scenario has for it."""
    ways = text.query_words.get(column, {})
    if isinstance(value, (list, tuple, np.ndarray)):
        return [way for part in value for way in ways.get(str(part), (part,))]
    return [] if is_missing(value) else list(ways.get(str(value), (value,)))
