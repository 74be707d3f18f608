"""Ingest: read the source, drop and count bad rows up to the scenario's share, order the events, write atomically."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from polytask.data.tables import Tables, table_file, write_tables
from polytask.ingest import movielens, reviews
from polytask.ingest.forgotten import Remaining, without_forgotten
from polytask.ingest.rejected import REJECTED, write_rejected
from polytask.ingest.report import IngestReport, TableReport
from polytask.ingest.timeline import order_events
from polytask.ingest.user_tables import read_table, read_user_tables
from polytask.ingest.validation import Reasons, check_entities, check_interactions
from polytask.scenario.names import EVENT_ID, INTERACTIONS, ITEMS, USERS
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import atomic_folder, sha256_file


@dataclass(frozen=True)
class SourceReader:
    """Where tables come from: `read` (scenario, cache) -> raw tables in file order, and notes for the report.

    A packaged data set is unpacked into `folder` of the cache.
    """

    read: Callable[[Scenario, Path | None], Tables]
    notes: tuple[str, ...] = ()
    folder: str | None = None


SOURCES: dict[str, SourceReader] = {
    "movielens": SourceReader(movielens.read_movielens, folder=movielens.FOLDER),
    "reviews": SourceReader(reviews.read_reviews, reviews.NOTES, reviews.FOLDER),
    "tables": SourceReader(read_user_tables),
}


def ingest(scenario: Scenario, target: Path, cache: Path | None = None) -> IngestReport:
    """Write the validated tables and `report.json` to the folder `target`, which is replaced as a whole.

    Rows that were dropped are in its sub-folder `rejected`, where there are any, see `write_rejected`.

    `cache` keeps downloads (None: the default cache folder). The same source gives the same bytes. Raises DataError
    naming table, column, reason, count and first rows when more rows are bad than `data_validation.max_bad_share`
    allows, or a column is missing; `target` then stays as it was.
    """
    source = SOURCES[scenario.source.kind]
    raw, forgotten = read_source(scenario, cache)
    tables, dropped, rejected = clean(scenario, raw)
    timestamp = scenario.entities.interactions.timestamp
    interactions, moved = order_events(tables.interactions, scenario.entities.users.key, timestamp)
    tables = tables._replace(interactions=interactions)
    with atomic_folder(target) as folder:
        write_tables(tables, folder)
        report = IngestReport(
            scenario=scenario.name,
            tables={
                name: TableReport(
                    rows_in=len(raw.named()[name]),
                    rows_out=len(table),
                    dropped=dropped[name],
                    sha256=sha256_file(table_file(folder, name)),
                )
                for name, table in tables.named().items()
            },
            first_event=interactions[timestamp].min().isoformat(),
            last_event=interactions[timestamp].max().isoformat(),
            moved_ties=moved,
            notes=(*source.notes, *([f"forgotten users left out: {forgotten}"] if forgotten else [])),
        )
        report.save(folder)
        write_rejected(rejected, folder / REJECTED)
    return report


def read_source(scenario: Scenario, cache: Path | None = None) -> Remaining:
    """The raw tables of the scenario's source without forgotten users, and how many users were left out."""
    raw = SOURCES[scenario.source.kind].read(scenario, cache)
    # A Parquet file may bring an index of its own; rows are known by their position.
    positioned = {name: table.reset_index(drop=True) for name, table in raw.named().items()}
    return without_forgotten(scenario, raw._replace(**positioned), cache)


def ingest_items(scenario: Scenario, file: Path | None = None, cache: Path | None = None) -> pd.DataFrame:
    """The clean items table out of `file` (.parquet or .csv), or as the scenario's source has it now.

    Raises DataError as `ingest` does.
    """
    columns = scenario.items.columns
    raw = SOURCES[scenario.source.kind].read(scenario, cache).items if file is None else None
    if file is not None:
        raw = read_table(file, ITEMS, columns).reset_index(drop=True)
    assert raw is not None, "scenario.items raises where there are none"
    return check_entities(scenario, ITEMS, scenario.items, raw).good.reset_index(drop=True)


class Cleaned(NamedTuple):
    """Typed tables without their bad rows, in file order; per table the dropped rows by reason, and the rows."""

    tables: Tables
    dropped: dict[str, Reasons]
    rejected: dict[str, pd.DataFrame]


def clean(scenario: Scenario, raw: Tables) -> Cleaned:
    """Validate and convert raw tables. `interactions` gains `event_id`, the row's position in the source.

    Raises BadRowsError, a DataError, for a table with more bad rows than the scenario allows.
    """
    entities = scenario.entities
    found = {USERS: check_entities(scenario, USERS, entities.users, raw.users)}
    keys = {entities.users.key: (raw.users, found[USERS].good)}
    items: pd.DataFrame | None = None
    if entities.items is not None and raw.items is not None:
        found[ITEMS] = check_entities(scenario, ITEMS, entities.items, raw.items)
        keys[entities.items.key] = (raw.items, found[ITEMS].good)
        items = found[ITEMS].good.reset_index(drop=True)
    found[INTERACTIONS] = check_interactions(scenario, raw.interactions, keys)
    interactions = found[INTERACTIONS].good
    interactions.insert(0, EVENT_ID, interactions.index.to_numpy("int64"))
    columns = [EVENT_ID, *keys, entities.interactions.timestamp, *entities.interactions.columns]
    return Cleaned(
        Tables(found[USERS].good.reset_index(drop=True), items, interactions[columns]),
        {name: checked.reasons for name, checked in found.items()},
        {name: checked.rejected for name, checked in found.items()},
    )
