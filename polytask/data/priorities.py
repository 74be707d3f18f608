"""How often each user follows each task's suggestions: the file of the bundle that weighs a merged slate."""

from collections.abc import Hashable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.errors import ContractError
from polytask.storage.atomic import atomic_file

PRIORITIES_FILE = "priorities.parquet"
# Before a task's name in the file, where the users' key has a column too.
PREFIX = "follows_"


class Priorities:
    """Follow rates (U + 1, k) in [0, 1]: row r is the user of catalogue row r, row 0 is everybody."""

    def __init__(self, users: Catalogue, rates: pd.DataFrame) -> None:
        """`rates` has one column per task and U + 1 rows."""
        self._users = users
        self.rates = rates.reset_index(drop=True)

    @cached_property
    def _lifts(self) -> NDArray[np.float64]:
        rates = self.rates.to_numpy(dtype=np.float64)
        everybody = rates[PADDING_ROW]
        lifts: NDArray[np.float64] = np.where(everybody > 0, rates / np.where(everybody > 0, everybody, 1.0), 1.0)
        return lifts

    def of(self, users: Sequence[Hashable], tasks: Sequence[str]) -> NDArray[np.float64]:
        """The priorities (B, k) of some tasks for some users, adding up to one.

        A priority is proportional to the lift: the user's rate over everybody's. Rates of different tasks do not
        compare (a hit among ten films is rarer than a right category), lifts do. An unknown user has the rates of all
        users, and so has a task without rates, such as one that was added later.
        """
        rows = self._users.rows(users)
        columns = {name: column for column, name in enumerate(self.rates.columns)}
        lifts = np.ones((len(rows), len(tasks)))
        for position, name in enumerate(tasks):
            if name in columns:
                lifts[:, position] = self._lifts[rows, columns[name]]
        totals = lifts.sum(axis=1, keepdims=True)
        return np.where(totals > 0, lifts / np.where(totals > 0, totals, 1.0), 1.0 / len(tasks))

    def save(self, path: Path) -> None:
        """Write Parquet: the users' key (missing in the first row) and one column per task."""
        keys = pd.Series([None, *self._users.ids], name=self._users.key).convert_dtypes()
        table = pd.concat([keys, self.rates.add_prefix(PREFIX)], axis=1)
        with atomic_file(path) as temporary:
            table.to_parquet(temporary, index=False)


def load_priorities(path: Path, users: Catalogue) -> Priorities:
    """Read the file of `save`, for a catalogue that may have new users since: a new user is like an unknown one."""
    table = pd.read_parquet(path)
    if users.key not in table:
        raise ContractError(f"{path}: columns {', '.join(table.columns)}; the users' key is {users.key}")
    row_of = {key: row for row, key in enumerate(table[users.key].tolist()) if row != PADDING_ROW}
    rows = [PADDING_ROW, *(row_of.get(key, PADDING_ROW) for key in users.ids)]
    rates = table.drop(columns=users.key).rename(columns=lambda name: name.removeprefix(PREFIX))
    return Priorities(users, rates.iloc[rows])


def equal_priorities(users: Catalogue, tasks: Sequence[str]) -> Priorities:
    """Equal priorities of all tasks for all users: those of a bundle without learned priorities."""
    return Priorities(users, pd.DataFrame(np.ones((len(users) + 1, len(tasks))), columns=list(tasks)))
