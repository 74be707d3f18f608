"""From ingested tables to a filled local feature store: sources, definitions, online store."""

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureStore

from feature_repo.definitions import definitions
from feature_repo.sources import STAMP, source_file, views_of, write_sources
from feature_repo.store import known_warnings_ignored, write_store
from polytask.scenario.schema import Scenario
from polytask.tables import read_tables

LOGGER = logging.getLogger(__name__)


def build_store(scenario: Scenario, ingest_folder: Path, folder: Path, settings: Path | None = None) -> Path:
    """Write sources and `feature_store.yaml` below `folder`, apply the definitions, fill the online store.

    `settings` names another registry and online store than files of `folder` (see `write_store`). Returns `folder`.
    Progress goes to the log; Feast prints its own lines about materialize.
    """
    views = views_of(scenario)
    LOGGER.info("writing the sources of %d feature views", len(views))
    write_sources(scenario, read_tables(ingest_folder), folder)
    store = write_store(scenario, folder, settings)
    LOGGER.info("applying the definitions of %s", scenario.feature_service)
    apply_definitions(store, scenario, folder)
    materialize(store, folder, views)
    return folder


def apply_definitions(store: FeatureStore, scenario: Scenario, folder: Path) -> None:
    """Register the scenario's objects in the store."""
    with known_warnings_ignored():
        store.apply(definitions(scenario, folder))


def materialize(store: FeatureStore, folder: Path, views: Sequence[str]) -> None:
    """Write the newest row of every entity to the online store, from the first to the last stamp of the sources."""
    spans = [_span(source_file(folder, view)) for view in views]
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    LOGGER.info("filling the online store from %s, up to %s", ", ".join(views), last.isoformat())
    with known_warnings_ignored():
        store.materialize(start_date=first, end_date=last, feature_views=list(views))


def _span(path: Path) -> tuple[datetime, datetime]:
    stamps = pq.read_table(path, columns=[STAMP])[STAMP]
    bounds = pc.min_max(stamps)
    return bounds["min"].as_py(), bounds["max"].as_py()
