"""The command `polytask add-task`: one more task on the last version, without touching it."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pipelines.grow import ground, print_metrics, tell, teller, write_repository
from pipelines.workspace import WORKSPACE
from polytask.errors import ScenarioError

if TYPE_CHECKING:
    from polytask.scenario.schema import Task


def add_task(
    task: Annotated[Path, typer.Option(help="YAML file with one entry of a scenario's `tasks`.")],
    scenario: Annotated[str, typer.Option(help="Name of a scenario, or the path of a file.")] = "movielens",
    workspace: Annotated[Path, typer.Option(help="Workspace of the demo that trained the last version.")] = WORKSPACE,
    checkpoint: Annotated[Path | None, typer.Option(help="Folder of the model; default: the last version's.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of its bundle; default: the published one.")] = None,
) -> None:
    """Train a new task on the frozen encoder of the last version and publish the next one."""
    started = time.monotonic()
    console = Console(file=sys.stdout)
    entry = read_task(task)
    base = ground(scenario, workspace, checkpoint, bundle)

    from pipelines.prepare import prepared
    from polytask.growth.jobs import add_task_job

    data = prepared(base.file, workspace, console)
    with base.workplace() as place:
        done = add_task_job(base.previous, entry, data.training_set, place, teller(console), write_repository)
        published = base.publish(place)
    print_metrics(console, f"{entry.title} ({entry.name})", done.metrics)
    console.print(
        f"[green]✓[/] all old weights are the same: SHA-256 {done.weights_sha256[:16]}", highlight=False, soft_wrap=True
    )
    tell(console, f"[green]✓[/] equal in every bit: {', '.join(done.same_outputs)}")
    tell(console, f"version {done.contract.model_version} in {published}")
    tell(console, f"done in {time.monotonic() - started:.0f} s")


def read_task(file: Path) -> "Task":
    """The task of a YAML file. Raises ScenarioError with what is wrong."""
    import yaml
    from pydantic import ValidationError

    from polytask.scenario.load import mistakes
    from polytask.scenario.schema import Task

    try:
        raw: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{file}: is not YAML: {error}") from error
    if isinstance(raw, list) and len(raw) == 1:
        raw = raw[0]  # as it would stand in a scenario's list
    if not isinstance(raw, dict):
        raise ScenarioError(f"{file}: holds {type(raw).__name__}, allowed: a mapping that starts with `name:`")
    try:
        return Task.model_validate(raw)
    except ValidationError as error:
        raise ScenarioError(f"{file}: {mistakes(error)}") from error
