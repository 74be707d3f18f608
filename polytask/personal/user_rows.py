"""The rows of a user in the files that the project writes and in the team's tables, counted and taken out."""

import json
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polytask.errors import DataError
from polytask.ingest.conversion import convert
from polytask.ingest.user_tables import read_table
from polytask.storage.atomic import atomic_file, write_text

MAGIC = b"PAR1"


def count_rows(path: Path, key: str, user: Hashable) -> int:
    """How many rows of a Parquet file have the user in the column `key`; 0 without such a column."""
    with pq.ParquetFile(path) as file:
        if key not in file.schema_arrow.names:
            return 0
        column = file.read(columns=[key])[key]
    matches = _matches(column, user)
    return 0 if matches is None else int(pc.sum(matches).as_py() or 0)


def remove_rows(path: Path, key: str, user: Hashable) -> None:
    """Write a Parquet file again without the rows that have the user in the column `key`; its schema stays.

    One row group is in memory at a time.
    """
    with (
        pq.ParquetFile(path) as file,
        atomic_file(path) as temporary,
        pq.ParquetWriter(temporary, file.schema_arrow) as writer,
    ):
        for group in range(file.metadata.num_row_groups):
            rows = file.read_row_group(group)
            matches = _matches(rows[key], user)
            writer.write_table(rows if matches is None else rows.filter(pc.invert(matches)))


def _matches(column: pa.ChunkedArray, user: Hashable) -> pa.ChunkedArray | None:
    """Which values are the user, a mask without nulls; None where the column cannot hold the key."""
    try:
        value = pa.scalar(user, column.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # A key of another type, such as numbers as text.
        if pa.types.is_nested(column.type):
            return None
        column, value = column.cast(pa.string()), pa.scalar(str(user))
    except (pa.ArrowNotImplementedError, OverflowError):
        return None
    return pc.fill_null(pc.equal(column, value), False)


def parquet_files(folder: Path) -> Iterator[Path]:
    """All Parquet files below a folder, whatever they are called: the artefacts of steps have no suffix."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(len(MAGIC)) == MAGIC:
                    yield path


def count_source_rows(path: Path, key: str, user: Hashable) -> int:
    """How many rows of one of the team's tables (.parquet or .csv, as ingest takes them) are the user's.

    Keys are read by the functions of ingest, so that a row counts exactly where a run would take it for the user's.
    Raises DataError for a file that cannot be read.
    """
    return int(_source_rows(path, key, user).sum())


def remove_source_rows(path: Path, key: str, user: Hashable) -> None:
    """Write a team's table again without the rows of the user; the schema of a Parquet file stays.

    In a CSV file quotes that a value does not need are not kept; cells stay as they are. Raises DataError as above.
    """
    left = ~_source_rows(path, key, user)
    if path.suffix == ".parquet":
        with (
            pq.ParquetFile(path) as file,
            atomic_file(path) as temporary,
            pq.ParquetWriter(temporary, file.schema_arrow) as writer,
        ):
            start = 0
            for group in range(file.metadata.num_row_groups):
                rows = file.read_row_group(group)
                writer.write_table(rows.filter(pa.array(left[start : start + len(rows)])))
                start += len(rows)
        return
    table = read_table(path, path.stem, {})
    # pandas renames doubled columns, and takes cells beyond the header for an index.
    (header,) = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).to_numpy().tolist()
    if len(header) != table.shape[1] or not isinstance(table.index, pd.RangeIndex):
        raise DataError(f"{path}: rows have more cells than the header names; the file is not written again")
    with atomic_file(path) as temporary:
        table[left].to_csv(temporary, index=False, header=header, encoding="utf-8", lineterminator="\n")


def _source_rows(path: Path, key: str, user: Hashable) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """A mask (n,) of the rows, in file order, that ingest would take for the user's."""
    return _own(read_table(path, path.stem, {}), key, user)


def count_rejected(path: Path, key: str, user: Hashable) -> int:
    """How many rows of a file of `polytask.ingest.rejected` are the user's."""
    table = pd.read_csv(
        path, dtype=str, keep_default_na=False, na_values=[""], skiprows=1
    )  # its first line is a warning
    return count_in_table(table, key, user)


def count_in_table(table: pd.DataFrame, key: str, user: Hashable) -> int:
    """How many rows of a raw table ingest would take for the user's; 0 without the column `key`."""
    return int(_own(table, key, user).sum())


def _own(table: pd.DataFrame, key: str, user: Hashable) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    if key not in table:
        return np.zeros(len(table), dtype=bool)
    keys, _ = convert(table[key], "integer" if isinstance(user, int) else "string")
    return (keys == user).fillna(False).to_numpy(dtype=bool)


def field_names_user(path: Path, field: str, user: Hashable) -> bool:
    """Whether a field of a JSON object has the key as a value anywhere in it, as a number or as text."""
    return _holds(json.loads(path.read_text(encoding="utf-8")).get(field), {user, str(user)})


def drop_from_json(path: Path, field: str) -> None:
    """Write a JSON object again without one of its fields."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop(field, None)
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _holds(content: Any, values: set[Hashable]) -> bool:
    if isinstance(content, dict):
        return any(_holds(value, values) for value in content.values())
    if isinstance(content, list):
        return any(_holds(value, values) for value in content)
    return not isinstance(content, bool) and isinstance(content, (str, int)) and content in values
