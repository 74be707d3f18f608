"""The page over the small scenario's catalogues, with a recommender of fixed recommendations."""

import pytest

from polytask.data.catalogue import catalogues_of
from polytask.data.tables import Tables
from polytask.scenario import Scenario
from serving.console.directory import Directory
from tests.serving.console.known import KnownFeatures


@pytest.fixture(scope="session")
def directory(small_scenario: Scenario, tables: Tables) -> Directory:
    """Users 10, 20, ... and items 7, 14, ... of the small tables."""
    return Directory(small_scenario, catalogues_of(small_scenario, tables), KnownFeatures())
