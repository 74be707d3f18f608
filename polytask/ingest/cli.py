"""The command `polytask check`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.markup import escape

from polytask.ingest.preview import Preview, preview
from polytask.ingest.rejected import write_rejected
from polytask.ingest.validation import BadRowsError
from polytask.progress import progress_console
from polytask.scenario import load_scenario


def check(
    scenario: Annotated[
        str, typer.Option(help="Name of a scenario in scenarios/, or the path of a file.")
    ] = "movielens",
    rejected: Annotated[
        Path | None,
        typer.Option(help="Folder to write rejected rows to, whole: the files hold personal data. None by default."),
    ] = None,
) -> None:
    """Check a scenario and its tables in seconds: rows, labels, texts. Nothing is trained; --rejected alone writes.

    ✓ is well, · is worth a look. The exit code is 1 where the demo would stop. Personal values are not shown.

    Examples:
      polytask check --scenario reviews
      polytask check --scenario scenarios/mine.yaml
      polytask check --scenario mine --rejected bad
    """
    from polytask.text.language_model import TOKENIZER_FILE
    from polytask.text.language_model_files import language_model_folder

    console = Console()
    loaded = load_scenario(scenario)
    console.print("[green]✓[/] scenario: every field is known and fits", highlight=False)
    try:
        found = preview(loaded, language_model_folder(loaded.encoder.model) / TOKENIZER_FILE)
    except BadRowsError as error:
        _keep(console, {error.table: error.rejected}, rejected)
        raise
    show(console, found)
    _keep(console, found.rejected, rejected)
    progress_console().print(f"Next: make demo SCENARIO={loaded.name}", highlight=False, markup=False)


def show(console: Console, found: Preview) -> None:
    """A line per table, split, task, example text and note."""
    for table in found.tables:
        console.print(f"[green]✓[/] {table.name}: {table.rows_out:,} of {table.rows_in:,} rows kept", highlight=False)
        for reason, count in table.dropped.items():
            _note(console, f"{table.name}: {count:,} dropped: {reason}")
        if table.unread:
            _note(console, f"{table.name}: not described, so not read: {', '.join(table.unread)}")
    splits = ", ".join(f"{name} {count:,}" for name, count in found.splits.items())
    console.print(
        f"[green]✓[/] events: {found.first_event} to {found.last_event}; {splits}", highlight=False, soft_wrap=True
    )
    for name, words in found.tasks.items():
        console.print(f"[green]✓[/] task {name}: {escape(words)}", highlight=False, soft_wrap=True)
    for name, text in found.texts.items():
        console.print(f"  {name} text: {text}", style="dim", highlight=False, markup=False, soft_wrap=True)
    for note in found.notes:
        _note(console, note)


def _keep(console: Console, rows: Mapping[str, pd.DataFrame], folder: Path | None) -> None:
    if folder is not None:
        for path in write_rejected(rows, folder):
            _note(console, f"{path}: rejected rows, whole; the file holds personal data")


def _note(console: Console, text: str) -> None:
    console.print(f"[yellow]·[/] {escape(text)}", highlight=False, soft_wrap=True)
