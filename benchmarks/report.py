"""The results of the measurements, as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure
from polytask.storage.atomic import write_text


def write_json(path: Path, figures: Sequence[Figure], machine: dict[str, Any]) -> None:
    """Put the figures into the JSON file at `path`; those of other names that are there already stay."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = {}
    content.update({figure.name: {**figure.to_dict(), "machine": machine} for figure in figures})
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def print_table(console: Console, figures: Sequence[Figure]) -> None:
    """Every part of every figure in a row, with MET or MISS where there is a bar."""
    table = Table(title="Ratios of one run: median of the rounds")
    for heading, side in (
        ("figure", "left"),
        ("part", "left"),
        ("median", "right"),
        ("min", "right"),
        ("max", "right"),
    ):
        table.add_column(heading, justify="right" if side == "right" else "left", no_wrap=heading != "part")
    table.add_column("rounds", justify="right")
    table.add_column("bar", justify="right")
    table.add_column("")
    for figure in figures:
        bar = "" if figure.bar is None else f"{'≥' if figure.bar_is == 'at least' else '≤'} {figure.bar:g}"
        words = {True: "[green]met[/]", False: "[bold red]MISS[/]", None: ""}
        for name, values in figure.parts.items():
            table.add_row(figure.name, name, *_row(values), bar, words[figure.meets(values)])
        for name, values in figure.beside.items():
            table.add_row(f"[dim]{figure.name}[/]", f"[dim]{name}[/]", *_row(values), "", "")
        table.add_section()
    console.print(table)
    for figure in figures:
        if figure.met is False:
            console.print(
                f"[bold red]MISS[/] {figure.name}: {median(figure.parts[figure.worst]):.3g} ({figure.worst}), "
                f"the bar is {figure.bar_is} {figure.bar:g}"
            )


def _row(values: Sequence[float]) -> list[str]:
    return [*(f"{value:.3g}" for value in (median(values), min(values), max(values))), str(len(values))]
