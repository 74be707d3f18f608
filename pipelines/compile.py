"""Compile every pipeline to the YAML that a Kubeflow cluster runs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from polytask.atomic import atomic_folder


def compile_pipelines(
    output: Annotated[Path, typer.Option(help="Folder for one YAML file per pipeline.")] = Path("build/pipelines"),
) -> None:
    """Write build/pipelines/<pipeline>.yaml.

    Examples:
      polytask compile
      polytask compile --output pipelines-for-the-cluster
    """
    from kfp import compiler

    from pipelines.train_and_deploy import train_and_deploy

    pipelines = {"train_and_deploy": train_and_deploy}
    with atomic_folder(output) as folder:
        for name, pipeline in pipelines.items():
            compiler.Compiler().compile(pipeline, str(folder / f"{name}.yaml"))
    for name in pipelines:
        Console().print(f"wrote {output / name}.yaml", highlight=False)
