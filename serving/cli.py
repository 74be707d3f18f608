"""The commands `polytask recommend` and `polytask serve`."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polytask.contract.contract import load_contract
from polytask.errors import ContractError, RequestError, ServingError

if TYPE_CHECKING:
    from serving.client import Answer, Entry
    from serving.local.explainer import ExplainerProcess

DEMO = Path("build/demo")
SHOWN = 5


def recommend(
    user: Annotated[str, typer.Option(help="Key of the user, as in the users table.")],
    query: Annotated[str | None, typer.Option(help="What the user typed, such as 'a scary ghost story'.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="A task to ask for; may be given more than once.")] = None,
    less_of: Annotated[
        list[str] | None, typer.Option(help="Key of an item to want less of; may be given more than once.")
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(help="A word about the moment, such as weather=rain; may be repeated."),
    ] = None,
    slate: Annotated[int | None, typer.Option(min=1, help="Also merge all tasks into one list of this length.")] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="Weight of a task in the merged list, such as item=2, in place of the user's own priorities."
        ),
    ] = None,
    recent: Annotated[
        list[str] | None,
        typer.Option(help="Key of an item that the user just had, oldest first; may be given more than once."),
    ] = None,
    exclude: Annotated[
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
    """Ask the running recommender about one user.

    Examples:
      polytask recommend --user 42
      polytask recommend --user 42 --query 'a scary ghost story' --k 10
      polytask recommend --user 42 --slate 10 --weight item=2 --json
    """
    from serving.client import RecommenderClient, Tls
    from serving.local.stack import STATE_FILE, read_state

    state = None if url else read_state(STATE_FILE)
    if url is None and state is None:
        raise ServingError("no recommender runs here; start one with `make serve`, or name one with --url host:port")
    address = state["grpc"] if state is not None else str(url)
    encrypted = Tls(tls_ca, tls_cert, tls_key) if tls or tls_ca or tls_cert or tls_key else None
    with RecommenderClient(address, tls=encrypted, token=bearer_token(token_env)) as client:
        types = client.input_types()
        answer = client.recommend(
            _key("--user", user, types["user_id"]),
            query=query,
            recent_items=_keys("--recent", recent, types.get("recent_items")),
            exclude_items=_keys("--exclude", exclude, types.get("exclude_items")),
            negative_items=_keys("--less-of", less_of, types.get("negative_items")),
            context=_context(context or ()),
            tasks=task or None,
            k=k,
            slate=slate,
            task_weights=_weights(weight) if weight else None,
            filters=filters,
        )
    console = Console()
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), ensure_ascii=False, indent=2))
    else:
        render_answers(console, answer, task_titles(Path(state["bundle"])) if state else None, k)


def serve(
    scenario: Annotated[str, typer.Option(help="Name of the scenario whose last demo is served.")] = "movielens",
    bundle: Annotated[Path | None, typer.Option(help="Folder of the exported bundle; default: the demo's.")] = None,
    feature_store: Annotated[
        Path | None, typer.Option(help="Folder that holds feature_store.yaml; default: the demo's.")
    ] = None,
    http_port: Annotated[int | None, typer.Option(min=1, max=65535, help="REST port; default: a free one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(min=1, max=65535, help="gRPC port; default: a free one.")] = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="Start beside the running one, as a second version to compare with.")
    ] = False,
    with_explainer: Annotated[
        bool | None,
        typer.Option("--explain/--no-explain", help="Also serve explanations; default: yes, but not --beside."),
    ] = None,
    with_console: Annotated[
        bool, typer.Option("--console/--no-console", help="Also serve a web page to look at the answers with.")
    ] = True,
    console_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of that page; default: 8700, or a free one.")
    ] = None,
) -> None:
    """Keep Triton, the transformer, the explainer and the console running until Ctrl-C.

    Examples:
      polytask serve
      polytask serve --scenario reviews
      polytask serve --grpc-port 8081 --no-explain
      polytask serve --beside --bundle published/older --grpc-port 8082
    """
    from serving.local.console import ConsoleProcess
    from serving.local.stack import LOGS, STATE_FILE, LocalStack, read_state

    running = read_state(STATE_FILE)
    if running is not None and not beside:
        raise ServingError(
            f"a recommender runs already: {running['grpc']} (process {running['pid']}); stop it, or start one --beside"
        )
    console = Console()
    # The name and not the file: what was published is served, whatever became of its scenario.
    demo = DEMO / Path(scenario).stem
    stack = LocalStack(
        bundle or demo / "published" / "current",
        feature_store or demo / "feature_store",
        logs=LOGS / "beside" if beside else LOGS,
        http_port=http_port,
        grpc_port=grpc_port,
        state_file=None if beside else STATE_FILE,
    )
    explainer = None
    if with_explainer if with_explainer is not None else not beside:
        explainer = stack.add_explainer(stack.logs / "explainer.log")
    page = None
    if with_console and not beside:
        log = stack.logs / "console.log"
        page = ConsoleProcess(
            stack.grpc_url, stack.bundle, stack.feature_store, log, console_port, explainer and explainer.url
        )
    try:
        with console.status("starting Triton and the transformer"):
            if page is not None:  # first: it loads while the servers do
                page.start()
            stack.start()
        if page is not None:
            console.print(f"Console {page.address}", highlight=False)
        console.print(f"gRPC    {stack.grpc_url}", highlight=False)
        console.print(f"REST    {stack.rest_url}/v2/models/recommender/infer", highlight=False)
        console.print(f"Triton  {stack.triton.grpc_address} (gRPC), {stack.triton.http_port} (REST)", highlight=False)
        console.print(f"        {stack.triton}", highlight=False)
        console.print(f"logs    {', '.join(map(str, stack.log_files))}", highlight=False, soft_wrap=True)
        if explainer is not None:  # last: answers are not to wait for it
            _start_explainer(console, explainer)
        console.print("Ask it: polytask recommend --user 42    Stop it: Ctrl-C")
        stack.wait(console.print)
    except KeyboardInterrupt:
        console.print("stopping")
    finally:
        if page is not None:
            page.stop()
        if explainer is not None:
            explainer.stop()
        stack.stop()


def _start_explainer(console: Console, explainer: "ExplainerProcess") -> None:
    """Start it and wait. Answers do not need it: one that is slow or broken is told of, and takes nothing along."""
    try:
        with console.status("starting the explainer"):
            explainer.start()
            explainer.wait_until_ready()
        console.print(f"Explain {explainer.url}/v1/models/recommender:explain", highlight=False)
    except ServingError as error:
        console.print(
            f"No explanations yet, answers do without: {error}", highlight=False, markup=False, soft_wrap=True
        )


def task_titles(bundle: Path) -> dict[str, str] | None:
    """Task name -> the title that the scenario gives it; None when the bundle cannot be read from here."""
    try:
        return {task.name: task.title for task in load_contract(bundle, verify_files=False).scenario.tasks}
    except ContractError:
        return None


def render_answers(
    console: Console, answer: "Answer", titles: Mapping[str, str] | None = None, limit: int = SHOWN
) -> None:
    """Print one table per task of a user's answer, at most `limit` entries each; a single number as one line."""
    flags = {
        "cold start: nothing is known about this user": answer.cold_start,
        "the text was cut to the model's length": answer.truncated,
        "stored features were too old and left out": answer.stale_features,
        "degraded: the feature store is unavailable, nothing stored about this user was used": answer.degraded,
    }
    query = f', asking for "{answer.query}"' if answer.query else ""
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
        table.add_column("answer", min_width=48)
        table.add_column("score", justify="right", min_width=7)
        for place, entry in enumerate(entries[:limit], start=1):
            text, score = _cells(entry)
            table.add_row(str(place), text, score)
        console.print(table)
    if answer.slate:
        _print_slate(console, answer)


def _is_one_number(task: str, entries: Sequence["Entry"]) -> bool:
    """Whether an answer is a regression's value or a binary task's probability, which has no label but the task."""
    from serving.client import Label, Value

    return len(entries) == 1 and (
        isinstance(entries[0], Value) or (isinstance(entries[0], Label) and entries[0].label == task)
    )


def _print_slate(console: Console, answer: "Answer") -> None:
    shares = ", ".join(f"{name} {share:.2f}" for name, share in answer.priority.items())
    table = Table(title=f"All of it, by priority: {shares}", title_justify="left")
    for heading, options in (("#", {"width": 2}), ("task", {}), ("answer", {"min_width": 48}), ("score", {})):
        table.add_column(heading, justify="right" if heading in "#score" else "left", **options)
    for place, entry in enumerate(answer.slate, start=1):
        named = escape(entry.title or entry.id)
        if entry.title and entry.title != entry.id:
            named += f" [dim]({escape(entry.id)})[/dim]"
        table.add_row(str(place), entry.task, named, f"{entry.score:.2f}")
    console.print(table)


def _weights(texts: list[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            raise RequestError("--weight", f"{text!r}, allowed: task=number, such as item=2")
    return weights


def _context(texts: Sequence[str]) -> dict[str, str]:
    words = {}
    for text in texts:
        name, equals, words[name] = text.partition("=")
        if not equals:
            raise RequestError("--context", f"{text!r}, allowed: name=text, such as weather=rain")
    return words


def bearer_token(variable: str | None) -> str | None:
    """The token in an environment variable: on the command line, every other process could read it."""
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not token:
        raise RequestError("--token-env", f"the environment variable {variable} is not set, allowed: one with a token")
    return token


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


def _cells(entry: "Entry") -> tuple[str, str]:
    from serving.client import Label, Ranked

    match entry:
        case Ranked(external, title, score):
            return f"{escape(title)} [dim]({escape(str(external))})[/dim]" if title else escape(
                str(external)
            ), f"{score:.2f}"
        case Label(label, score):
            return escape(label), f"{score:.2f}"
        case _:
            return "", f"{entry.value:.2f}"
