"""A cluster that knows TrainJobs, and the inputs of a training that nothing reads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client import Configuration

from polytask.jobs.exchange import Inputs
from polytask.scenario import Scenario
from polytask.scenario.resources import TrainingSteps
from serving.kubernetes.client import Cluster
from tests.trainer.api_server import State, serving
from trainer.train_job import Nodes


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def cluster(state: State) -> Iterator[Cluster]:
    with serving(state) as url:
        cluster = Cluster(Configuration(host=url), "test", retry_seconds=0.01)
        yield cluster
        cluster.close()


@pytest.fixture
def nodes() -> Nodes:
    return Nodes(2, 1, "registry.example/polytask:1", TrainingSteps(cpu="3", memory="4Gi", memory_limit="6Gi"))


@pytest.fixture
def inputs(small_scenario: Scenario, tmp_path: Path) -> Inputs:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "users.parquet").write_bytes(b"users")
    (tmp_path / "rows.parquet").write_bytes(b"rows")
    return Inputs(small_scenario, tmp_path / "tables", tmp_path / "rows.parquet")
