"""Compile every pipeline to the YAML that a Kubeflow cluster runs, and check it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polytask.errors import PolytaskError
from polytask.progress import progress_console
from polytask.scenario import load_scenario
from polytask.storage.atomic import atomic_folder

if TYPE_CHECKING:  # kfp takes a second to import
    from pipelines.steps.definition import ClusterSettings, Definition


class CompileError(PolytaskError):
    """A compiled pipeline is not what a cluster should run."""


def compile_pipelines(
    output: Annotated[Path, typer.Option(help="Folder for one YAML file per pipeline.")] = Path("build/pipelines"),
    scenario: Annotated[
        str,
        typer.Option(help="The scenario whose `resources` the steps get, and that is run unless a run names another."),
    ] = "movielens",
) -> None:
    """Write build/pipelines/<pipeline>.yaml.

    Examples:
      polytask compile
      polytask compile --scenario reviews --output pipelines-for-the-cluster
    """
    from pipelines.all_pipelines import PIPELINES
    from pipelines.steps.definition import ClusterSettings

    loaded = load_scenario(scenario)
    cluster = ClusterSettings(scenario, loaded.name, loaded.resources)
    with atomic_folder(output) as folder:
        for name, definition in PIPELINES.items():
            write_pipeline(definition, cluster, folder / f"{name}.yaml")
    for name in PIPELINES:
        progress_console().print(f"wrote {output / name}.yaml", highlight=False, soft_wrap=True)


def write_pipeline(definition: "Definition", cluster: "ClusterSettings", file: Path) -> None:
    """Compile one pipeline to a file. Raises CompileError for one that a cluster should not run."""
    from kfp import compiler

    from pipelines.steps.compiled_checks import problems_of

    compiler.Compiler().compile(definition.compiled_for(cluster), str(file))
    problems = problems_of(file.read_text(encoding="utf-8"))
    if problems:
        raise CompileError(f"{file.stem}: " + "; ".join(problems))
