"""The command `polytask run`: any pipeline on this machine, in the workspace of the demo."""

import sys
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipelines.local_runner.local import code_version, run_pipeline
from pipelines.local_runner.workspace import WORKSPACE, claimed
from polytask.environment import stay_on_this_machine
from polytask.errors import DataError
from polytask.name_value import name_value
from polytask.scenario import load_scenario, scenario_path

_WORDS = {"true": True, "false": False}


def run(
    pipeline: Annotated[str, typer.Argument(help="Its name, such as refresh_features.")],
    scenario: Annotated[str, typer.Option(help="Name of a scenario, or the path of a file.")] = "movielens",
    workspace: Annotated[Path, typer.Option(help="Workspace of the demo.")] = WORKSPACE,
    parameters: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter of the pipeline, name=value; may be repeated.")
    ] = None,
) -> None:
    """Run a pipeline on this machine: train_and_deploy, refresh_features, add_task, refresh_catalogue, batch_recommend.

    Examples:
      polytask run refresh_features
      polytask run batch_recommend --set k=5 --set output=recommendations.parquet
    """
    from pipelines.all_pipelines import PIPELINES

    console = Console(file=sys.stdout)
    if pipeline not in PIPELINES:
        raise DataError(f"pipeline {pipeline!r} is not known; allowed: {', '.join(PIPELINES)}")
    definition = PIPELINES[pipeline]
    given = chosen(definition.parameters, parameters or [])
    stay_on_this_machine()
    file = scenario_path(scenario).resolve()
    places = claimed(workspace.resolve(), file, load_scenario(file).name, console)
    usual = {
        "scenario": str(file),
        "feature_store": str(places.feature_store),
        "target": str(places.published),
        "code_version": code_version(),
        "work_folder": str(places.folder),
    }
    arguments = {name: value for name, value in usual.items() if name in definition.parameters} | given
    done = run_pipeline(definition, arguments, places.pipeline, console)
    console.print(f"{definition.title}: done; the runner itself took {done.overhead:.1f} s", highlight=False)


def chosen(known: dict[str, Parameter], given: list[str]) -> dict[str, Any]:
    """`name=value` words as arguments of the right types. Raises DataError for an unknown name or a wrong value."""
    found: dict[str, Any] = {}
    for word in given:
        expected = f"name=value with a name of {', '.join(known)}"
        name, value = name_value(word, expected, lambda message: DataError(f"--set: {message}"))
        if name not in known:
            raise DataError(f"--set: {word!r}, allowed: {expected}")
        kind = known[name].annotation
        try:
            found[name] = _WORDS[value.lower()] if kind is bool else kind(value)
        except (ValueError, KeyError) as error:
            raise DataError(
                f"--set {name}: {value!r} stands there; allowed: a value of type {kind.__name__}"
            ) from error
    return found
