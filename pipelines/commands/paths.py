"""Paths on the terminal: whatever its width, they are printed whole, so that they can be copied."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# The least width of the columns other than the paths on a terminal; in a pipe or a file nothing is folded.
OTHER_COLUMNS = 60
PIPE_COLUMNS = 10_000


def shown_path(path: Path | str) -> str:
    """A path relative to the current folder where it is below it, else as it is."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def print_paths(console: Console, title: str, paths: Mapping[str, Path]) -> None:
    """Print a line per path, its name before it; no line is cut or folded."""
    width = max(map(len, paths), default=0)
    console.print(Text(title, style="italic"), soft_wrap=True)
    for name, path in paths.items():
        console.print(f"  {name:<{width}}  {shown_path(path)}", markup=False, highlight=False, soft_wrap=True)


def print_path_table(console: Console, headings: Sequence[str], rows: Sequence[tuple[str, str, str]]) -> None:
    """Print a table whose second column holds paths, which are never folded; a narrow terminal folds the others.

    Args:
        console: Where to print it.
        headings: Three headings.
        rows: Three cells each, the second a path.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=place == 1)
    for row in rows:
        table.add_row(*map(Text, row))
    longest = max((len(path) for _, path, _ in rows), default=0)
    before = console.width
    console.width = max(before, longest + OTHER_COLUMNS) if console.is_terminal else PIPE_COLUMNS
    try:
        console.print(table)
    finally:
        console.width = before
