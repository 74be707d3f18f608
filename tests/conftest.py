"""What several test folders share: a small scenario with its data, written anew for each session."""

import os
from pathlib import Path

import pytest

# Set before any library reads them: two threads are all there is, and no library may phone home.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("FEAST_USAGE", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from polytask.scenario import Scenario, load_scenario
from polytask.tables import Tables
from serving.triton.install import TritonInstallation, install_triton
from tests.small import small_tables, write_small_scenario


@pytest.fixture(scope="session")
def small_scenario_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario file over small CSV tables (30 users, 60 items, about 900 events)."""
    return write_small_scenario(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def small_scenario(small_scenario_file: Path) -> Scenario:
    """The small scenario, loaded."""
    return load_scenario(small_scenario_file)


@pytest.fixture(scope="session")
def tables() -> Tables:
    """The small tables in the form that ingest writes."""
    return small_tables()


@pytest.fixture(scope="session")
def triton_installation() -> TritonInstallation:
    """A Triton server on this machine, installed into the cache folder on the first use."""
    return install_triton()
