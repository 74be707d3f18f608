"""The rows that validation rejects, in full: what a person needs to correct a table, and so personal data."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from polytask.storage.atomic import atomic_file

REJECTED = "rejected"
WARNING = "# This file holds personal data: whole rows of the source. Delete it when the table is corrected.\n"
PRIVATE = 0o600


def write_rejected(rejected: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write `<folder>/<table>.csv` for each table with rejected rows: `row`, `reason`, and the columns of the source.

    The first line states that the file holds personal data; only its owner may read it. Returns the files.
    """
    written = []
    for name, rows in rejected.items():
        if rows.empty:
            continue
        path = folder / f"{name}.csv"
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(WARNING)
            rows.to_csv(file, index=False)
        path.chmod(PRIVATE)
        written.append(path)
    return written
