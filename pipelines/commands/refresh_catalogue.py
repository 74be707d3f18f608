"""The command `polytask refresh-catalogue`: new items join the last version by their text alone."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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

IDS_SHOWN = 10


def refresh_catalogue(
    scenario: ScenarioOption = "movielens",
    items: Annotated[
        Path | None, typer.Option(help="Items table (.parquet or .csv); default: the scenario's source as it is now.")
    ] = None,
    workspace: WorkspaceOption = WORKSPACE,
    checkpoint: CheckpointOption = None,
    bundle: BundleOption = None,
    gate: GateOption = True,
) -> None:
    """Append new items to the catalogue of the last version and publish the next one; no weight moves.

    Examples:
      polytask refresh-catalogue --items new.csv
      polytask refresh-catalogue
    """
    started = time.monotonic()
    console, progress = Console(file=sys.stdout), progress_console()
    base = update_context(scenario, workspace, checkpoint, bundle)

    from pipelines.local_runner.prepare import prepared
    from polytask.ingest import ingest_items
    from polytask.jobs.updates import refresh_job
    from polytask.scenario.names import ITEMS

    table = ingest_items(base.previous.contract().scenario, items)
    data = prepared(base.file, workspace, progress) if gate else None
    rows = None if data is None else data.training_set
    with base.temporary_directory() as place:
        done = refresh_job(base.previous, table, place, line_printer(progress), write_repository, rows)
        if data is not None:
            base.judge(place, data.tables, data.training_set, progress)
        published = base.publish(place, place / "bundle" / done.contract.catalogues[ITEMS].path)
    if done.changed:
        shown = ", ".join(map(str, done.changed[:IDS_SHOWN])) + (", ..." if len(done.changed) > IDS_SHOWN else "")
        print_line(console, f"another text, and so another text vector: {shown}")
    if done.missing:
        print_line(console, f"{done.missing} items are no longer in the table; their rows stay")
    if done.same_outputs:
        print_line(progress, f"[green]✓[/] equal in every bit: {', '.join(done.same_outputs)}")
    print_line(console, f"{done.new} items appended; version {done.contract.model_version} in {published}")
    print_line(progress, f"done in {time.monotonic() - started:.0f} s")
