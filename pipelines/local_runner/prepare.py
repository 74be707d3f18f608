"""The first three steps of the chain, for commands that start from a training set: ingest, features, training set."""

from pathlib import Path
from typing import NamedTuple

from kfp import dsl
from rich.console import Console

from pipelines.local_runner.local import code_version, run_pipeline
from pipelines.local_runner.workspace import claimed
from pipelines.steps.data_steps import data_steps
from polytask.scenario import load_scenario


class PreparedData(NamedTuple):
    """The ingest folder (see `polytask.data.tables`) and the training set's Parquet file."""

    tables: Path
    training_set: Path


class Outputs(NamedTuple):
    """The same two as artefacts of the pipeline."""

    tables: dsl.Dataset
    training_set: dsl.Dataset


@dsl.pipeline(name="prepare", display_name="Prepare", description="Ingests the data and joins its training set.")
def prepare(scenario: str, feature_store: str, code_version: str) -> Outputs:
    """The steps of `train_and_deploy` up to the training set, with the same arguments, so that both share a cache."""
    _, tables, _, rows = data_steps(scenario, code_version, feature_store)
    return Outputs(tables.outputs["tables"], rows.outputs["training_set"])


def prepared(scenario_file: Path, workspace: Path, console: Console) -> PreparedData:
    """Run what is not yet done of the three steps below `<workspace>/<scenario>`, as the demo does.

    Raises PipelineError when a step fails.
    """
    file = scenario_file.resolve()
    loaded = load_scenario(file)
    places = claimed(workspace.resolve(), file, loaded.name, console)
    run = run_pipeline(
        prepare,
        {
            "scenario": str(file),
            "feature_store": str(places.feature_store),
            "code_version": code_version(),
        },
        places.pipeline,
        console,
    )
    return PreparedData(run.outputs["tables"], run.outputs["training_set"])
