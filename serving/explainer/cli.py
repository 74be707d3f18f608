"""The command `polytask explain`."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polytask.contract.names import QUERY
from polytask.errors import RequestError, ServingError
from polytask.name_value import name_value

if TYPE_CHECKING:
    from polytask.client import Explanation

SHOWN = 5


def explain(
    user: Annotated[str, typer.Option(help="Key of the user, as in the users table.")],
    query: Annotated[str | None, typer.Option(help="What the user typed.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="A task to explain; may be given more than once.")] = None,
    recent_item: Annotated[
        list[str] | None,
        typer.Option(help="Key of an item that the user just had, oldest first; may be given more than once."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Prediction of a task to explain, such as item=288 or scene=Horror; default: the first."),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="What items must have, as for polytask recommend, such as genres=Horror."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="http://host:port of the explainer; default: the running one.")
    ] = None,
    text_keys: Annotated[
        bool, typer.Option("--text-keys", help="Keys are texts even where they look like numbers.")
    ] = False,
    tls_ca: Annotated[Path | None, typer.Option(help="PEM file of the certificates that vouch for the server.")] = None,
    token_env: Annotated[
        str | None, typer.Option(help="Name of the environment variable that holds the bearer token.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain each task's prediction by history items and request text (occlusion).

    The command calls an explainer, which polytask serve starts.

    Examples:
      polytask explain --user 42
      polytask explain --user 42 --target scene=Horror
      polytask explain --user 42 --task item --filter genres=Horror
      polytask explain --user 42 --task item --query 'a scary ghost story' --json
    """
    from polytask.client import Tls
    from polytask.client import explain as send_request
    from serving.commands.bearer_token import bearer_token
    from serving.local.stack import STATE_FILE, read_state

    address = url or (read_state(STATE_FILE) or {}).get("explainer")
    if address is None:
        raise ServingError(
            "no explainer runs here; start one with polytask serve, or name one with --url http://host:port"
        )
    found = send_request(
        address,
        _key(user, text_keys),
        tasks=task or None,
        targets={name: _key(answer, text_keys) for name, answer in map(_target, target or ())},
        query=query,
        recent_items=[_key(item, text_keys) for item in recent_item or ()],
        filters=filters,
        tls=Tls(tls_ca) if tls_ca else None,
        token=bearer_token(token_env),
    )
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    else:
        render_explanation(Console(), found)


def render_explanation(console: Console, found: "Explanation", limit: int = SHOWN) -> None:
    """Print one table per task: the `limit` items that raised its prediction most, and all groups of words."""
    from polytask.client import Ranked, ScoredLabel, Value

    console.print(f"User {found.user}", style="bold", markup=False, highlight=False)
    for name, task in found.tasks.items():
        match task.answer:
            case Ranked(external, title, score):
                answer = f"{title or external} ({external}), score {score:.2f}"
            case ScoredLabel(label, score):
                answer = f"{label}, score {score:.2f}"
            case Value(value):
                answer = f"{value:.2f}"
            case _:
                console.print(f"{name}: no prediction, so nothing to explain", markup=False, highlight=False)
                continue
        table = Table(title=escape(f"{name}: {answer}"), title_justify="left")
        table.add_column("what", min_width=7)
        table.add_column("", min_width=40)
        table.add_column("contribution", justify="right")
        for item in task.history[:limit]:
            table.add_row("history", escape(f"{item.title} ({item.id})"), _number(item.contribution, item.at_least))
        for words in task.words:
            named = words.text if words.part == QUERY else f"{words.name}: {words.text}"
            table.add_row(words.part, escape(named), _number(words.contribution, words.at_least))
        console.print(table)


def _target(text: str) -> tuple[str, str]:
    expected = "task=prediction, such as item=288 or scene=Horror"
    name, answer = name_value(text, expected, partial(RequestError, "--target"))
    if not answer:
        raise RequestError("--target", f"{text!r}, allowed: {expected}")
    return name, answer


def _number(contribution: float, at_least: bool) -> str:
    return f"{'at least ' if at_least else ''}{contribution:+.3f}"


def _key(text: str, as_text: bool) -> int | str:
    return text if as_text or not text.lstrip("-").isdecimal() else int(text)
