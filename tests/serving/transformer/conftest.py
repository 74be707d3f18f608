from pathlib import Path

import pytest

from polytask.data.tables import Tables
from polytask.scenario import Scenario
from tests.serving.bundle import write_bundle


@pytest.fixture
def folder(small_scenario: Scenario, tables: Tables, tmp_path: Path) -> Path:
    write_bundle(tmp_path, small_scenario, tables)
    return tmp_path
