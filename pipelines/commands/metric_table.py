"""Metrics on the terminal."""

from collections.abc import Mapping

from rich import box
from rich.table import Table


def metric_table(title: str, methods: Mapping[str, Mapping[str, float | None]]) -> Table:
    """A row per metric of the first method, a column per method: six methods fit into 80 columns, metrics would not."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("metric", min_width=19)
    for name in methods:
        table.add_column(name, justify="right")
    for metric in next(iter(methods.values())):
        values = [found.get(metric) for found in methods.values()]
        table.add_row(metric, *("-" if value is None else f"{value:.4f}" for value in values))
    return table
