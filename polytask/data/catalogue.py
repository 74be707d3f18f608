"""Catalogues: which row of a tensor means which external id. Row 0 is padding and means nothing."""

from collections.abc import Hashable, Iterable, Mapping
from functools import cached_property
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.data.tables import Tables
from polytask.scenario.names import ITEMS, USERS
from polytask.scenario.schema import Scenario, Table
from polytask.storage.atomic import atomic_file

PADDING_ROW = 0


class Catalogue:
    """An ordered table of entities; the entity at position i of the table has row i + 1."""

    def __init__(self, name: str, key: str, table: pd.DataFrame) -> None:
        self.name = name
        self.key = key
        self.table = table.reset_index(drop=True)

    def __len__(self) -> int:
        """Number of entities, the padding row not counted."""
        return len(self.table)

    @cached_property
    def ids(self) -> list[Hashable]:
        """External id of each row from 1 on."""
        return list(self.table[self.key].tolist())

    @cached_property
    def _row_of(self) -> dict[Hashable, int]:
        return {external: row for row, external in enumerate(self.ids, start=1)}

    def row(self, external: Hashable) -> int:
        """The row of an external id; the padding row when the id is unknown."""
        return self._row_of.get(external, PADDING_ROW)

    def rows(self, externals: Iterable[Hashable]) -> NDArray[np.int64]:
        """Rows of external ids (n,); unknown ids become the padding row."""
        return np.fromiter(map(self._row_of.get, externals, repeat(PADDING_ROW)), dtype=np.int64)

    def external(self, row: int) -> Hashable:
        """The external id of a row. Raises IndexError for the padding row and for rows past the end."""
        if not 1 <= row <= len(self):
            raise IndexError(f"row {row} of catalogue {self.name}, which has rows 1 to {len(self)}")
        return self.ids[row - 1]

    def record(self, row: int) -> Mapping[str, object]:
        """All columns of a row."""
        self.external(row)
        return {str(column): value for column, value in self.table.iloc[row - 1].items()}

    def save(self, path: Path) -> None:
        """Write the catalogue as Parquet."""
        with atomic_file(path) as temporary:
            self.table.to_parquet(temporary, index=False)


def catalogue_of(scenario: Scenario, name: str, table: pd.DataFrame) -> Catalogue:
    """The catalogue `users` or `items` over a table of that entity."""
    entity: Table = scenario.entities.users if name == USERS else scenario.items
    return Catalogue(name, entity.key, table[[entity.key, *entity.columns]])


def catalogues_of(scenario: Scenario, tables: Tables) -> dict[str, Catalogue]:
    """The catalogue of users, and that of items where there are any; rows in file order."""
    found = {USERS: tables.users, ITEMS: tables.items}
    return {name: catalogue_of(scenario, name, table) for name, table in found.items() if table is not None}


def load_catalogue(scenario: Scenario, name: str, path: Path) -> Catalogue:
    """Read a catalogue that `save` wrote."""
    return catalogue_of(scenario, name, pd.read_parquet(path))
