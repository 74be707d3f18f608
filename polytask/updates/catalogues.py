"""The next version of a catalogue: what is there keeps its row, what is new is appended."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.data.catalogue import PADDING_ROW, Catalogue, catalogue_of
from polytask.scenario.schema import Scenario
from polytask.text.templates import item_text


@dataclass(frozen=True)
class Extended:
    """A catalogue after new rows were appended to an older one.

    `new_rows` are the numbers of the appended rows, `missing` counts the entries that the newer table no longer has:
    they keep their rows, since rows are never given to others.
    """

    catalogue: Catalogue
    new_rows: NDArray[np.int64]
    missing: int


def extended(scenario: Scenario, old: Catalogue, table: pd.DataFrame) -> Extended:
    """The catalogue `old` with the entries of a newer `table`: known ones are updated in place, new ones appended."""
    newer = catalogue_of(scenario, old.name, table)
    gone = old.table[~old.table[old.key].isin(newer.ids)]
    new_ids = [external for external in newer.ids if old.row(external) == PADDING_ROW]
    rows = pd.concat([gone, newer.table], ignore_index=True).set_index(old.key, drop=False).loc[[*old.ids, *new_ids]]
    catalogue = catalogue_of(scenario, old.name, rows)
    return Extended(catalogue, np.arange(len(old) + 1, len(catalogue) + 1, dtype=np.int64), len(gone))


def changed_texts(scenario: Scenario, old: Catalogue, new: Catalogue) -> NDArray[np.int64]:
    """The rows of `old` whose text for the language model differs in `new`."""
    rows = [
        row
        for row in range(1, len(old) + 1)
        if item_text(scenario.text, old.record(row)) != item_text(scenario.text, new.record(row))
    ]
    return np.array(rows, dtype=np.int64)
