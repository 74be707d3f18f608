"""One small feature store for the whole folder; tests that change a store build their own."""

from pathlib import Path

import pytest

from polytask.scenario import Scenario
from polytask.tables import Tables, write_tables


@pytest.fixture(scope="session")
def ingested(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small tables as an ingest folder."""
    folder = tmp_path_factory.mktemp("ingested")
    write_tables(tables, folder)
    return folder


@pytest.fixture(scope="session")
def small_store(small_scenario: Scenario, ingested: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled feature store over the small tables. Read only."""
    from feature_repo.apply import build_store

    return build_store(small_scenario, ingested, tmp_path_factory.mktemp("store"))
