"""Tables in Markdown, for the user interface of Kubeflow Pipelines."""

from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """Text that cannot break a table or a line."""
    return text.replace("|", "\\|").replace("\n", " ")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, an empty one before it."""
    return ["", *(f"| {' | '.join(map(cell, row))} |" for row in (header, ["---"] * len(header), *rows))]
