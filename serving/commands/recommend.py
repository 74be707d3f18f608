"""The command `polytask recommend`."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from polytask.contract.names import DISLIKED_ITEMS, EXCLUDE_ITEMS, RECENT_ITEMS, USER_ID
from polytask.errors import RequestError, ServingError
from polytask.name_value import name_value
from serving.commands.bearer_token import bearer_token
from serving.commands.response_tables import SHOWN, render_responses, task_titles

if TYPE_CHECKING:
    pass


def recommend(
    user: Annotated[str, typer.Option(help="Key of the user, as in the users table.")],
    query: Annotated[str | None, typer.Option(help="What the user typed, such as 'a scary ghost story'.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="A task to request; may be given more than once.")] = None,
    disliked_item: Annotated[
        list[str] | None, typer.Option(help="Key of an item that the user dislikes; may be given more than once.")
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(help="A word about the moment, such as weather=rain; may be repeated."),
    ] = None,
    slate: Annotated[int | None, typer.Option(min=1, help="Also merge all tasks into one list of this length.")] = None,
    task_weight: Annotated[
        list[str] | None,
        typer.Option(
            help="Weight of a task in the merged list, such as item=2, in place of the user's own priorities."
        ),
    ] = None,
    recent_item: Annotated[
        list[str] | None,
        typer.Option(help="Key of an item that the user just had, oldest first; may be given more than once."),
    ] = None,
    exclude_item: Annotated[
        list[str] | None, typer.Option(help="Key of an item to leave out; may be given more than once.")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", help="What items must have, such as 'genres=Horror|Comedy' or year=1990..1999; all must hold."
        ),
    ] = None,
    k: Annotated[int, typer.Option(min=1, help="How many entries of each list.")] = SHOWN,
    url: Annotated[str | None, typer.Option(help="host:port of the gRPC endpoint; default: the running stack.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt; the other --tls options mean it too.")] = False,
    tls_ca: Annotated[Path | None, typer.Option(help="PEM file of the certificates that vouch for the server.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file of the own certificate; takes --tls-key.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the own key.")] = None,
    token_env: Annotated[
        str | None, typer.Option(help="Name of the environment variable that holds the bearer token.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Request recommendations for one user from the running recommender.

    Examples:
      polytask recommend --user 42
      polytask recommend --user 42 --query 'a scary ghost story' --k 10
      polytask recommend --user 42 --slate 10 --task-weight item=2 --json
    """
    from polytask.client import RecommenderClient, Tls
    from serving.local.stack import STATE_FILE, read_state

    state = None if url else read_state(STATE_FILE)
    if url is None and state is None:
        raise ServingError("no recommender runs here; start one with `make serve`, or name one with --url host:port")
    address = state["grpc"] if state is not None else str(url)
    encrypted = Tls(tls_ca, tls_cert, tls_key) if tls or tls_ca or tls_cert or tls_key else None
    with RecommenderClient(address, tls=encrypted, token=bearer_token(token_env)) as client:
        types = client.input_types()
        answer = client.recommend(
            _key("--user", user, types[USER_ID]),
            query=query,
            recent_items=_keys("--recent-item", recent_item, types.get(RECENT_ITEMS)),
            exclude_items=_keys("--exclude-item", exclude_item, types.get(EXCLUDE_ITEMS)),
            disliked_items=_keys("--disliked-item", disliked_item, types.get(DISLIKED_ITEMS)),
            context=_context(context or ()),
            tasks=task or None,
            k=k,
            slate=slate,
            task_weights=_weights(task_weight) if task_weight else None,
            filters=filters,
        )
    console = Console()
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), ensure_ascii=False, indent=2))
    else:
        render_responses(console, answer, task_titles(Path(state["bundle"])) if state else None, k)


def _weights(texts: list[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text in texts:
        expected = "task=number, such as item=2"
        name, number = name_value(text, expected, partial(RequestError, "--task-weight"))
        try:
            weights[name] = float(number)
        except ValueError as error:
            raise RequestError("--task-weight", f"{text!r}, allowed: {expected}") from error
    return weights


def _context(texts: Sequence[str]) -> dict[str, str]:
    expected = "name=text, such as weather=rain"
    return dict(name_value(text, expected, partial(RequestError, "--context")) for text in texts)


def _keys(option: str, texts: Sequence[str] | None, datatype: str | None) -> list[int | str]:
    return [_key(option, text, datatype or "BYTES") for text in texts or ()]


def _key(option: str, text: str, datatype: str) -> int | str:
    """A key as the server takes it. Raises RequestError where it must be a number and is none."""
    if datatype != "INT64":
        return text
    try:
        return int(text)
    except ValueError as error:
        raise RequestError(option, f"{text!r}, allowed: a whole number, as in the tables") from error
