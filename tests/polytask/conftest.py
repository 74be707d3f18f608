"""The whole evaluation of the small scenario, run twice, for the tests of what it finds and of the report."""

import pytest

from polytask.data.tables import write_tables
from polytask.experiment.experiment import Experiment
from tests.small import training_frame


@pytest.fixture(scope="session")
def inputs(small_scenario, tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_tables(tables, folder / "tables")
    training_frame(small_scenario, tables).to_parquet(folder / "training_set.parquet")
    return folder


@pytest.fixture(scope="session")
def runs(small_scenario, inputs, small_checkpoint, tmp_path_factory):
    """Two runs into the same folder: their results and their log lines."""
    output = tmp_path_factory.mktemp("eval")
    found = []
    for _ in range(2):
        done = []
        content = Experiment(
            scenario=small_scenario,
            tables=inputs / "tables",
            training_set=inputs / "training_set.parquet",
            output=output,
            seeds=[3, 4],
            ablation_seeds=[3],
            previous=small_checkpoint,
            resamples=100,
            log=lambda line: None,
            done=done.append,
        ).run()
        found.append((content, done, output))
    return found
