"""Tables of a user's recommendations for a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polytask.contract.contract import load_contract
from polytask.errors import ContractError

if TYPE_CHECKING:
    from polytask.client import Entry, Recommendations

SHOWN = 5


def task_titles(bundle: Path) -> dict[str, str] | None:
    """Task name -> the title that the scenario gives it; None when the bundle cannot be read from here."""
    try:
        return {task.name: task.title for task in load_contract(bundle, verify_files=False).scenario.tasks}
    except ContractError:
        return None


def render_responses(
    console: Console, answer: "Recommendations", titles: Mapping[str, str] | None = None, limit: int = SHOWN
) -> None:
    """Print one table per task of a user's response, at most `limit` entries each; a single number as one line."""
    flags = {
        "cold start: nothing is known about this user": answer.cold_start,
        "the text was cut to the model's length": answer.truncated,
        "stored features were too old and left out": answer.stale_features,
        "degraded: the feature store is unavailable, nothing stored about this user was used": answer.degraded,
    }
    query = f', query "{answer.query}"' if answer.query else ""
    moment = "".join(f", {name} {value}" for name, value in answer.context.items())
    console.print(f"User {answer.user}{moment}{query}", style="bold", markup=False, highlight=False)
    for text in [text for text, holds in flags.items() if holds]:
        console.print(f"  {text}", style="yellow", highlight=False)
    for name, entries in answer.tasks.items():
        title = (titles or {}).get(name, name)
        title = f"{title} ({name})" if title != name else name
        if _is_one_number(name, entries):
            console.print(f"{title}: {_cells(entries[0])[1]}", markup=False, highlight=False)
            continue
        table = Table(title=title, title_justify="left")
        table.add_column("#", justify="right", width=2)
        table.add_column("prediction", min_width=48)
        table.add_column("score", justify="right", min_width=7)
        for place, entry in enumerate(entries[:limit], start=1):
            text, score = _cells(entry)
            table.add_row(str(place), text, score)
        console.print(table)
    if answer.slate:
        _print_slate(console, answer)


def _is_one_number(task: str, entries: Sequence["Entry"]) -> bool:
    """Whether a prediction is a regression's value or a binary task's probability, which has no label but the task."""
    from polytask.client import ScoredLabel, Value

    return len(entries) == 1 and (
        isinstance(entries[0], Value) or (isinstance(entries[0], ScoredLabel) and entries[0].label == task)
    )


def _print_slate(console: Console, answer: "Recommendations") -> None:
    shares = ", ".join(f"{name} {share:.2f}" for name, share in answer.priority.items())
    table = Table(title=f"All of it, by priority: {shares}", title_justify="left")
    table.add_column("#", justify="right", width=2)
    table.add_column("task")
    table.add_column("prediction", min_width=48)
    table.add_column("score", justify="right")
    for place, entry in enumerate(answer.slate, start=1):
        named = escape(entry.title or entry.id)
        if entry.title and entry.title != entry.id:
            named += f" [dim]({escape(entry.id)})[/dim]"
        table.add_row(str(place), entry.task, named, f"{entry.score:.2f}")
    console.print(table)


def _cells(entry: "Entry") -> tuple[str, str]:
    from polytask.client import Ranked, ScoredLabel

    match entry:
        case Ranked(external, title, score):
            return f"{escape(title)} [dim]({escape(str(external))})[/dim]" if title else escape(
                str(external)
            ), f"{score:.2f}"
        case ScoredLabel(label, score):
            return escape(label), f"{score:.2f}"
        case _:
            return "", f"{entry.value:.2f}"
