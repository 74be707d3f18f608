"""Filters on item attributes: which rows of the catalogue a call allows. ADR 0040.

The attributes are the columns of the items, but for the one that names them: texts and lists of texts are filtered by
values, `genres=Horror|Comedy`, numbers by a range, `year=1990..1999`, `year=1990..` or `year=1994`.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.contract.names import FILTERS
from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.errors import RequestError
from polytask.scenario.schema import Column, Scenario
from polytask.text.templates import is_missing
from serving.transformer.concurrency.blocking import BoundedThreads
from serving.transformer.concurrency.bounded_cache import BoundedCache
from serving.transformer.concurrency.deadline import Deadline

MAX_FILTERS = 16
MAX_FILTER_CHARACTERS = 2000
SHOWN_VALUES = 30  # in an error
# What remembered sets of filters may take: one takes a byte per item.
MASKS_BYTES = 64 * 2**20
# A set of filters over more items than these is combined in a thread: over a million it takes tens of milliseconds.
IN_LOOP_ROWS = 20_000

Mask = NDArray[np.bool_]


def filterable(scenario: Scenario) -> dict[str, Column]:
    """The attributes that items can be filtered by, empty without items."""
    items = scenario.entities.items
    return {} if items is None else {name: c for name, c in items.columns.items() if name != items.title_column}


class ItemFilters:
    """The filters over one catalogue of items. An item without a value of an attribute passes no filter on it.

    `allowed` may be called from several threads, `mask` in one event loop.
    """

    def __init__(self, scenario: Scenario, items: Catalogue) -> None:
        self._columns = filterable(scenario)
        self._table = items.table
        self._with_value: dict[str, dict[str, NDArray[np.int64]]] = {}
        self._numbers: dict[str, NDArray[np.float64]] = {}
        for name, column in self._columns.items():
            if column.type in ("integer", "float"):
                self._numbers[name] = items.table[name].to_numpy(dtype=np.float64, na_value=np.nan)
            else:
                self._with_value[name] = _positions(items.table[name])
        self._rows = len(items) + 1
        self._masks: BoundedCache[tuple[str, ...], Mask] = BoundedCache(MASKS_BYTES)
        self._threads = BoundedThreads(1, "filters")

    def values(self, name: str) -> list[str] | None:
        """The values of an attribute in alphabetical order, None where it is a number."""
        return None if name in self._numbers else sorted(self._with_value[name])

    def allowed(self, filters: Sequence[str]) -> Mask:
        """(N + 1,): which rows pass all of `filters`; row 0, padding, never does. Read only.

        Raises RequestError with what is allowed for an attribute, a value or a range that is none.
        """
        wanted = tuple(filters)
        mask = self._masks.get(wanted)
        if mask is None:
            mask = self._combine(wanted)
            self._masks.keep(wanted, mask, mask.nbytes + sum(map(sys.getsizeof, wanted)))
        return mask

    async def mask(self, filters: Sequence[str], deadline: Deadline) -> Mask:
        """As `allowed`, and the event loop goes on meanwhile. Raises Unavailable when the deadline passes."""
        if self._rows <= IN_LOOP_ROWS or self._masks.get(tuple(filters)) is not None:
            return self.allowed(filters)
        return await self._threads.run(deadline, FILTERS, self.allowed, filters)

    def close(self) -> None:
        """Take no more work."""
        self._threads.close()

    def _combine(self, filters: tuple[str, ...]) -> Mask:
        mask = np.ones(self._rows, dtype=np.bool_)
        mask[PADDING_ROW] = False
        for text in filters:
            mask &= self._one(text)
        mask.flags.writeable = False
        return mask

    def _one(self, text: str) -> Mask:
        name, equals, wanted = text.partition("=")
        if name not in self._columns or not equals:
            known = ", ".join(f"{n}={'low..high' if n in self._numbers else 'value|value'}" for n in self._columns)
            raise RequestError(FILTERS, f"{text!r} names no attribute of the items, allowed: {known}")
        mask = np.zeros(self._rows, dtype=np.bool_)
        if name in self._numbers:
            low, high = _range(text, name, wanted)
            with np.errstate(invalid="ignore"):  # a missing number is NaN, and compares as false
                mask[1:] = (self._numbers[name] >= low) & (self._numbers[name] <= high)
            return mask
        positions = self._with_value[name]
        for value in wanted.split("|"):
            if value not in positions:
                shown = ", ".join(sorted(positions)[:SHOWN_VALUES])
                more = f" and {len(positions) - SHOWN_VALUES} more" if len(positions) > SHOWN_VALUES else ""
                raise RequestError(FILTERS, f"{name} has no value {value!r}, allowed: {shown}{more}")
            mask[positions[value] + 1] = True
        return mask


def _positions(values: Any) -> dict[str, NDArray[np.int64]]:
    """Value -> where in the column it stands."""
    found: dict[str, list[int]] = {}
    for position, value in enumerate(values):
        parts = value if isinstance(value, (list, tuple, np.ndarray)) else () if is_missing(value) else (value,)
        for part in parts:
            found.setdefault(str(part), []).append(position)
    return {value: np.array(positions, dtype=np.int64) for value, positions in found.items()}


def _range(text: str, name: str, wanted: str) -> tuple[float, float]:
    low, dots, high = wanted.partition("..")
    try:
        first = float(low) if low or not dots else -np.inf
        last = float(high) if high else first if not dots else np.inf
    except ValueError:
        first, last = 1.0, 0.0
    if not first <= last:  # NaN is no bound either
        raise RequestError(
            FILTERS, f"{text!r}, allowed: {name}=low..high with low at most high, one of them, or a number"
        )
    return first, last
