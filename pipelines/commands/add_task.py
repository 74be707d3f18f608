"""The command `polytask add-task`: one more task on the last version, without touching it."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.commands.metric_table import metric_table
from pipelines.commands.update_base import (
    BundleOption,
    CheckpointOption,
    GateOption,
    ScenarioOption,
    WorkspaceOption,
    line_printer,
    print_line,
    update_context,
    write_repository,
)
from pipelines.local_runner.workspace import WORKSPACE
from polytask.progress import progress_console
from polytask.scenario.load import load_task


def add_task(
    task: Annotated[Path, typer.Option(help="YAML file with one entry of a scenario's `tasks`.")],
    scenario: ScenarioOption = "movielens",
    workspace: WorkspaceOption = WORKSPACE,
    checkpoint: CheckpointOption = None,
    bundle: BundleOption = None,
    gate: GateOption = True,
) -> None:
    """Train a new task on the frozen encoder of the last version and publish the next one.

    Examples:
      polytask add-task --task liked.yaml
    """
    started = time.monotonic()
    console, progress = Console(file=sys.stdout), progress_console()
    entry = load_task(task)
    base = update_context(scenario, workspace, checkpoint, bundle)

    from pipelines.local_runner.prepare import prepared
    from polytask.jobs.updates import add_task_job

    data = prepared(base.file, workspace, progress)
    with base.temporary_directory() as place:
        done = add_task_job(base.previous, entry, data.training_set, place, line_printer(progress), write_repository)
        if gate:
            base.judge(place, data.tables, data.training_set, progress)
        published = base.publish(place, data.training_set)
    console.print(metric_table(f"{entry.title} ({entry.name})", done.metrics))
    print_line(progress, f"[green]✓[/] all old weights are the same: SHA-256 {done.weights_sha256[:16]}")
    print_line(progress, f"[green]✓[/] equal in every bit: {', '.join(done.same_outputs)}")
    print_line(console, f"version {done.contract.model_version} in {published}")
    print_line(progress, f"done in {time.monotonic() - started:.0f} s")
