"""The command `polytask fine-tune`: go on training all tasks of the last version on the data as they are now."""

import sys
import time
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
from polytask.updates.fine_tuning_defaults import EPOCHS, LEARNING_RATE


def fine_tune(
    scenario: ScenarioOption = "movielens",
    workspace: WorkspaceOption = WORKSPACE,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = EPOCHS,
    learning_rate: Annotated[float, typer.Option(min=1e-8, help="Highest rate of the schedule.")] = LEARNING_RATE,
    checkpoint: CheckpointOption = None,
    bundle: BundleOption = None,
    gate: GateOption = True,
) -> None:
    """Train the last version further on the source's current data; new users and items get rows of their own.

    Examples:
      polytask fine-tune
      polytask fine-tune --epochs 3
    """
    started = time.monotonic()
    console, progress = Console(file=sys.stdout), progress_console()
    base = update_context(scenario, workspace, checkpoint, bundle)

    from pipelines.local_runner.prepare import prepared
    from polytask.data.tables import read_tables
    from polytask.jobs.updates import fine_tune_job

    data = prepared(base.file, workspace, progress)
    with base.temporary_directory() as place:
        done = fine_tune_job(
            base.previous,
            read_tables(data.tables),
            data.training_set,
            place,
            line_printer(progress),
            epochs,
            learning_rate,
            write_repository,
        )
        if gate:
            base.judge(place, data.tables, data.training_set, progress)
        published = base.publish(place, data.training_set)
    for task in done.contract.scenario.tasks:
        rows = {"last version": done.before["test"][task.name], "this version": done.after["test"][task.name]}
        console.print(metric_table(f"{task.title} ({task.name}): test split", rows))
    appended = ", ".join(f"{count} {name}" for name, count in done.new_rows.items())
    print_line(console, f"appended: {appended}")
    print_line(console, f"version {done.contract.model_version} in {published}")
    print_line(progress, f"done in {time.monotonic() - started:.0f} s")
