"""The command `polytask submit`: upload a compiled pipeline to Kubeflow Pipelines, start it, and follow the run."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from pipelines.endpoint.arguments import typed_arguments
from pipelines.endpoint.endpoint import Endpoint, EndpointError
from pipelines.endpoint.follow import follow, step_titles
from polytask.errors import PolytaskError
from polytask.progress import progress_console
from polytask.scenario import load_scenario

TOKEN_VARIABLE = "POLYTASK_KFP_TOKEN"  # noqa: S105 - the name of a variable
ENDPOINT_VARIABLE = "KF_PIPELINES_ENDPOINT"


class SubmitError(PolytaskError):
    """What is to be submitted is no compiled pipeline."""


def submit(
    endpoint: Annotated[
        str,
        typer.Option(envvar=ENDPOINT_VARIABLE, help="Address of Kubeflow Pipelines, such as http://localhost:8888."),
    ],
    pipeline: Annotated[
        str, typer.Option(help="Name of a pipeline, which is compiled now, or the path of a compiled one (.yaml).")
    ] = "train_and_deploy",
    scenario: Annotated[
        str, typer.Option(help="The scenario that a pipeline given by name is compiled for.")
    ] = "movielens",
    param: Annotated[list[str] | None, typer.Option(help="Parameter of the pipeline, name=value; repeatable.")] = None,
    token: Annotated[
        str, typer.Option(envvar=TOKEN_VARIABLE, help="Bearer token; a variable or a file keeps it out of sight.")
    ] = "",
    token_file: Annotated[Path | None, typer.Option(help="File with the token.")] = None,
    namespace: Annotated[str, typer.Option(help="Namespace of the run, where several users share Kubeflow.")] = "",
    experiment: Annotated[str, typer.Option(help="Experiment that the run belongs to.")] = "polytask",
    wait: Annotated[bool, typer.Option(help="Follow the run until it ends.")] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to follow it for at most; it goes on after that.")] = (
        86400
    ),
    poll_seconds: Annotated[float, typer.Option(min=0.01, help="Seconds between two looks at it.")] = 5.0,
) -> None:
    """Upload a pipeline, unless the same is there already, start a run, print its address and follow it.

    Examples:
      polytask submit --endpoint http://localhost:8888 --param registry_dir=/mnt/models
      polytask submit --endpoint http://localhost:8888 --pipeline add_task --no-wait
    """
    console = Console(file=sys.stdout)
    with TemporaryDirectory() as folder:
        file = _compiled(pipeline, scenario, Path(folder))
        spec = _spec(file)
        arguments = typed_arguments(param or (), spec)
        information = spec["pipelineInfo"]
        name = information["name"]
        reached = Endpoint(endpoint, _token(token, token_file), namespace)
        version = reached.version_of(name, information.get("description", ""), file)
        run_id = reached.start(version, f"{name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}", experiment, arguments)
    console.print(f"started {reached.page_of(run_id)}", highlight=False, soft_wrap=True)
    if wait:
        follow(reached, run_id, step_titles(spec), progress_console(), seconds=timeout, poll_seconds=poll_seconds)


def _token(token: str, file: Path | None) -> str | None:
    if file is None:
        return token or None
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise EndpointError(f"--token-file: {file} cannot be read: {error.strerror}") from error


def _compiled(pipeline: str, scenario: str, folder: Path) -> Path:
    """The compiled pipeline: the file that is named, or one that is made now."""
    if pipeline.endswith((".yaml", ".yml")):
        return Path(pipeline)
    from pipelines.all_pipelines import PIPELINES
    from pipelines.commands.compile import write_pipeline
    from pipelines.steps.definition import ClusterSettings

    if pipeline not in PIPELINES:
        raise SubmitError(f"--pipeline {pipeline!r}; allowed: {', '.join(PIPELINES)}, or the path of a .yaml file")
    loaded = load_scenario(scenario)
    file = folder / f"{pipeline}.yaml"
    write_pipeline(PIPELINES[pipeline], ClusterSettings(scenario, loaded.name, loaded.resources), file)
    return file


def _spec(file: Path) -> Any:
    try:
        spec = next(yaml.safe_load_all(file.read_text(encoding="utf-8")), None)
    except (OSError, yaml.YAMLError) as error:
        words = " ".join(str(error).split())
        raise SubmitError(f"--pipeline {file}: cannot be read: {words}") from error
    if not isinstance(spec, dict) or "pipelineInfo" not in spec or "root" not in spec:
        raise SubmitError(f"--pipeline {file}: is no compiled pipeline; `polytask compile` writes them")
    return spec
