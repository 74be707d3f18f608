"""The command `polytask run`: any pipeline on this machine, in the workspace of the demo."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.commands.paths import print_paths
from pipelines.endpoint.arguments import parse_parameters
from pipelines.local_runner.local import code_version, run_pipeline
from pipelines.local_runner.workspace import WORKSPACE, claimed
from polytask.environment import stay_on_this_machine
from polytask.errors import DataError
from polytask.progress import progress_console
from polytask.scenario import load_scenario, scenario_path

# Type of a parameter -> its parameterType in a PipelineSpec.
KINDS = {str: "STRING", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE", bool: "BOOLEAN"}


def run(
    pipeline: Annotated[str, typer.Argument(help="Its name, such as refresh_features.")],
    scenario: Annotated[str, typer.Option(help="Name of a scenario, or the path of a file.")] = "movielens",
    workspace: Annotated[Path, typer.Option(help="Working directory of the demo.")] = WORKSPACE,
    param: Annotated[list[str] | None, typer.Option(help="Parameter of the pipeline, name=value; repeatable.")] = None,
) -> None:
    """Run a pipeline on this machine: train_and_deploy, refresh_features, add_task, refresh_catalogue, batch_recommend.

    Examples:
      polytask run refresh_features
      polytask run batch_recommend --param k=5 --param output=recommendations.parquet
    """
    from pipelines.all_pipelines import PIPELINES

    progress = progress_console()
    if pipeline not in PIPELINES:
        raise DataError(f"pipeline {pipeline!r} is not known; allowed: {', '.join(PIPELINES)}")
    definition = PIPELINES[pipeline]
    kinds = {name: KINDS[one.annotation] for name, one in definition.parameters.items()}
    given = parse_parameters(param or (), kinds)
    stay_on_this_machine()
    file = scenario_path(scenario).resolve()
    places = claimed(workspace.resolve(), file, load_scenario(file).name, progress)
    usual = {
        "scenario": str(file),
        "feature_store": str(places.feature_store),
        "registry_dir": str(places.published),
        "code_version": code_version(),
        "checkpoint_dir": str(places.folder),
    }
    arguments = {name: value for name, value in usual.items() if name in definition.parameters} | given
    done = run_pipeline(definition, arguments, places.pipeline, progress)
    if done.outputs:
        print_paths(Console(file=sys.stdout), "Artifacts", done.outputs)
    progress.print(f"{definition.title}: done; the runner itself took {done.overhead:.1f} s", highlight=False)
