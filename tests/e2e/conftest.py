"""One running stack for the tests over the wire: real Triton, real Feast, the transformer in a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_repo.apply import build_store
from polytask.scenario import Scenario
from polytask.tables import Tables, write_tables
from serving.local import LocalStack
from serving.triton.install import TritonInstallation
from tests.serving.bundle import write_bundle

DEADLINE_SECONDS = 1.0


@pytest.fixture(scope="session")
def small_store(small_scenario: Scenario, tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature store over the small tables, its online store filled."""
    folder = tmp_path_factory.mktemp("store")
    write_tables(tables, folder / "ingest")
    return build_store(small_scenario, folder / "ingest", folder / "store")


@pytest.fixture(scope="session")
def small_bundle(small_scenario: Scenario, tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose models score by rule (tests/serving/bundle.py), so that the right answers are known."""
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, small_scenario, tables)
    return folder


@pytest.fixture(scope="session")
def small_stack(
    small_bundle: Path,
    small_store: Path,
    triton_installation: TritonInstallation,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalStack]:
    """Triton and the transformer over the small bundle and store, with a deadline of one second a request."""
    with LocalStack(
        small_bundle,
        small_store,
        installation=triton_installation,
        logs=tmp_path_factory.mktemp("logs"),
        deadline_seconds=DEADLINE_SECONDS,
    ) as stack:
        yield stack
