"""From ingested tables to a filled local feature store: sources, definitions, online store."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureStore

from feature_repo.definitions import definitions
from feature_repo.filled import unmark
from feature_repo.parquet_rows import quoted
from feature_repo.sources import STAMP, USER_HISTORY, source_file, views_of, write_sources
from feature_repo.store import known_warnings_ignored, open_batch_store, write_store
from polytask.data.tables import read_tables
from polytask.scenario.schema import Scenario

LOGGER = logging.getLogger(__name__)


def build_store(
    scenario: Scenario,
    ingest_folder: Path,
    folder: Path,
    settings: Path | None = None,
    late: timedelta | None = None,
) -> Path:
    """Write sources and `feature_store.yaml` below `folder`, apply the definitions, fill the online store.

    `settings` names other stores than files of `folder` (see `write_store`). With `late` only what
    is new is written to the online store (see `materialize`). Returns `folder`. Progress goes to the log; Feast prints
    its own lines about materialize.
    """
    views = views_of(scenario)
    unmark(folder)
    past = _past_of_histories(folder, late)
    LOGGER.info("writing the sources of %d feature views", len(views))
    write_sources(scenario, read_tables(ingest_folder), folder)
    if past is not None and past != _past_of_histories(folder, late, past.until):
        LOGGER.info("events before %s have changed: all histories are written", past.until.isoformat())
        late = None
    store = write_store(scenario, folder, settings)
    LOGGER.info("applying the definitions of %s", scenario.feature_service)
    apply_definitions(store, scenario, folder)
    materialize(store, folder, views, late)
    return folder


class Past(NamedTuple):
    """Rows of the histories' source up to a moment: how many, and a checksum of all of them in any order."""

    until: datetime
    rows: int
    checksum: int


def _past_of_histories(folder: Path, late: timedelta | None, until: datetime | None = None) -> Past | None:
    """What an incremental refresh would not write again, by default up to `late` before the newest row.

    None without `late`, or without such a source.
    """
    path = source_file(folder, USER_HISTORY)
    if late is None or not path.is_file():
        return None
    until = until or _span(path)[1] - late
    query = f"""
        SELECT count(*), coalesce(bit_xor(hash(part)), 0)
        FROM read_parquet(?) AS part WHERE {quoted(STAMP)}::TIMESTAMPTZ <= ?
    """  # noqa: S608 - quoted
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(query, [str(path), until]).fetchone()
    assert found is not None
    return Past(until, *found)


def apply_definitions(store: FeatureStore, scenario: Scenario, folder: Path) -> None:
    """Register the scenario's objects in the store."""
    with known_warnings_ignored():
        store.apply(definitions(scenario, folder, store.config.offline_config))


def materialize(store: FeatureStore, folder: Path, views: Sequence[str], late: timedelta | None = None) -> None:
    """Write the newest row of every entity to the online store, from the first to the last stamp of the sources.

    With `late` the histories are written only as far as the registry does not know of them, and from `late` before
    that, for events that came late. Profiles and items have no time of their own (all carry one stamp), so a change of
    one cannot be seen by it: there is one row an entity, and they are written whole, over those of an equal stamp too.
    """
    path = Path(store.repo_path)
    if USER_HISTORY in views:
        # Whole histories must not go through the search for the newest.
        store = open_batch_store(path)
        first, last = _span(source_file(folder, USER_HISTORY))
        known = None if late is None else _known_until(store, USER_HISTORY)
        if late is not None and known is not None:
            first = max(first, known - late)
        _materialize(store, [USER_HISTORY], first, last)
    whole = [view for view in views if view != USER_HISTORY]
    spans = [_span(source_file(folder, view)) for view in whole]
    _materialize(
        open_batch_store(path, overwrite=True), whole, min(first for first, _ in spans), max(last for _, last in spans)
    )


def _materialize(store: FeatureStore, views: list[str], first: datetime, last: datetime) -> None:
    if first > last:
        LOGGER.info("nothing newer than %s for %s", first.isoformat(), ", ".join(views))
        return
    LOGGER.info(
        "filling the online store from %s, rows of %s to %s", ", ".join(views), first.isoformat(), last.isoformat()
    )
    with known_warnings_ignored():
        store.materialize(start_date=first, end_date=last, feature_views=views)


def _known_until(store: FeatureStore, view: str) -> datetime | None:
    """The end of what has been materialized of a view; None where nothing has."""
    return max((end for _, end in store.get_feature_view(view).materialization_intervals), default=None)


def _span(path: Path) -> tuple[datetime, datetime]:
    stamps = pq.read_table(path, columns=[STAMP])[STAMP]
    bounds = pc.min_max(stamps)
    return bounds["min"].as_py(), bounds["max"].as_py()
