"""The command `polytask check`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from polytask.ingest.preview import Preview, preview
from polytask.scenario import load_scenario


def check(
    scenario: Annotated[
        str, typer.Option(help="Name of a scenario in scenarios/, or the path of a file.")
    ] = "movielens",
) -> None:
    """Check a scenario and its tables in seconds: rows, labels, texts. Nothing is trained or written.

    ✓ is well, · is worth a look. The exit code is 1 where the demo would stop.

    Examples:
      polytask check --scenario reviews
      polytask check --scenario scenarios/mine.yaml
    """
    from polytask.language_model import TOKENIZER_FILE
    from polytask.language_model_files import language_model_folder

    console = Console()
    loaded = load_scenario(scenario)
    console.print("[green]✓[/] scenario: every field is known and fits", highlight=False)
    show(console, preview(loaded, language_model_folder(loaded.encoder.model) / TOKENIZER_FILE))
    console.print(f"Next: make demo SCENARIO={loaded.name}", highlight=False, markup=False)


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


def _note(console: Console, text: str) -> None:
    console.print(f"[yellow]·[/] {escape(text)}", highlight=False, soft_wrap=True)
