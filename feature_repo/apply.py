"""From ingested tables to a filled local feature store: sources, definitions, online store."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureStore

from feature_repo.definitions import definitions
from feature_repo.sources import STAMP, USER_HISTORY, source_file, views_of, write_sources
from feature_repo.store import known_warnings_ignored, open_batch_store, write_store
from polytask.scenario.schema import Scenario
from polytask.tables import read_tables

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
    LOGGER.info("writing the sources of %d feature views", len(views))
    write_sources(scenario, read_tables(ingest_folder), folder)
    store = write_store(scenario, folder, settings)
    LOGGER.info("applying the definitions of %s", scenario.feature_service)
    apply_definitions(store, scenario, folder)
    materialize(store, folder, views, late)
    return folder


def apply_definitions(store: FeatureStore, scenario: Scenario, folder: Path) -> None:
    """Register the scenario's objects in the store."""
    with known_warnings_ignored():
        store.apply(definitions(scenario, folder, store.config.offline_config))


def materialize(store: FeatureStore, folder: Path, views: Sequence[str], late: timedelta | None = None) -> None:
    """Write the newest row of every entity to the online store, from the first to the last stamp of the sources.

    With `late` the histories are written only as far as the registry does not know of them, and from `late` before
    that, for events that came late. Profiles and items have no time of their own (all carry one stamp), so a change of
    one could not be told by it: there is one row an entity, and they are written whole.
    """
    # Whole histories must not go through the search for the newest.
    store = open_batch_store(Path(store.repo_path))
    spans = {view: _span(source_file(folder, view)) for view in views}
    whole = list(views)
    known = None if late is None or USER_HISTORY not in views else _known_until(store, USER_HISTORY)
    if late is not None and known is not None:
        whole.remove(USER_HISTORY)
        first, last = spans.pop(USER_HISTORY)
        _materialize(store, [USER_HISTORY], max(first, known - late), last)
    _materialize(store, whole, min(start for start, _ in spans.values()), max(end for _, end in spans.values()))


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
