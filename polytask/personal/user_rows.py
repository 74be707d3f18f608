"""The rows of a user in the files that the project writes, counted and taken out: Parquet and CSV tables, JSON."""

import csv
import json
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polytask.atomic import atomic_file, write_text

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
        # A key of another type in the team's own files, such as numbers as text.
        column, value = column.cast(pa.string()), pa.scalar(str(user))
    except pa.ArrowNotImplementedError:
        return None
    return pc.fill_null(pc.equal(column, value), False)


def parquet_files(folder: Path) -> Iterator[Path]:
    """All Parquet files below a folder, whatever they are called: the artefacts of steps have no suffix."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(len(MAGIC)) == MAGIC:
                    yield path


def count_csv_rows(path: Path, key: str, user: Hashable) -> int:
    """How many rows of a CSV file (UTF-8, with a header) have the user in the column `key`."""
    with path.open(encoding="utf-8", newline="") as file:
        return sum(_is_user(row.get(key), user) for row in csv.DictReader(file))


def remove_csv_rows(path: Path, key: str, user: Hashable) -> None:
    """Write a CSV file again without the rows of the user. Quotes that a value does not need are not kept."""
    with path.open(encoding="utf-8", newline="") as file, atomic_file(path) as temporary:
        reader = csv.reader(file)
        header = next(reader)
        place = header.index(key)
        with temporary.open("w", encoding="utf-8", newline="") as target:
            writer = csv.writer(target, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(row for row in reader if not _is_user(row[place] if place < len(row) else None, user))


def _is_user(cell: str | None, user: Hashable) -> bool:
    """Whether a cell is the key, as ingest reads it: `7`, `7.0` and `07` are one integer."""
    if cell is None:
        return False
    text = cell.strip()
    if isinstance(user, int):
        try:
            return float(text) == user
        except ValueError:
            return False
    return text == user


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
