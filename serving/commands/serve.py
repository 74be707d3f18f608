"""The command `polytask serve`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from polytask.errors import ServingError
from polytask.progress import progress_console

if TYPE_CHECKING:
    from serving.local.explainer import ExplainerProcess

DEMO = Path("build/demo")


def serve(
    scenario: Annotated[str, typer.Option(help="Name of the scenario whose last demo is served.")] = "movielens",
    bundle: Annotated[Path | None, typer.Option(help="Folder of the exported bundle; default: the demo's.")] = None,
    feature_store: Annotated[
        Path | None, typer.Option(help="Folder that holds feature_store.yaml; default: the demo's.")
    ] = None,
    http_port: Annotated[int | None, typer.Option(min=1, max=65535, help="REST port; default: a free one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(min=1, max=65535, help="gRPC port; default: a free one.")] = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="Start a second recommender, to compare it with the running one.")
    ] = False,
    with_explainer: Annotated[
        bool | None,
        typer.Option("--explain/--no-explain", help="Also serve explanations; default: yes, but not --beside."),
    ] = None,
    with_console: Annotated[
        bool, typer.Option("--console/--no-console", help="Also serve a web page that shows the recommendations.")
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
    console, progress = Console(), progress_console()
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
        explainer_url = None if explainer is None else explainer.url
        page = ConsoleProcess(stack.grpc_url, stack.bundle, stack.feature_store, log, console_port, explainer_url)
    try:
        with progress.status("starting Triton and the transformer"):
            if page is not None:  # first: it loads while the servers do
                page.start()
            stack.start()
        if page is not None:
            console.print(f"Console {page.address}", highlight=False)
        console.print(f"gRPC    {stack.grpc_url}", highlight=False)
        console.print(f"REST    {stack.rest_url}/v2/models/recommender/infer", highlight=False)
        console.print(f"Triton  {stack.triton.grpc_address} (gRPC), {stack.triton.http_port} (REST)", highlight=False)
        console.print(f"        {stack.triton}", highlight=False, soft_wrap=True)
        console.print(f"logs    {', '.join(map(str, stack.log_files))}", highlight=False, soft_wrap=True)
        if explainer is not None:  # last: recommendations must not wait for it
            _start_explainer(console, explainer)
        progress.print("Request: polytask recommend --user 42    Stop it: Ctrl-C")
        stack.wait(console.print)
    except KeyboardInterrupt:
        progress.print("stopping")
    finally:
        if page is not None:
            page.stop()
        if explainer is not None:
            explainer.stop()
        stack.stop()


def _start_explainer(console: Console, explainer: "ExplainerProcess") -> None:
    """Start the explainer and wait. Recommendations do not need it: its failure is printed and stops nothing else."""
    try:
        with console.status("starting the explainer"):
            explainer.start()
            explainer.wait_until_ready()
        console.print(f"Explain {explainer.url}/v1/models/recommender:explain", highlight=False)
    except ServingError as error:
        console.print(
            f"No explanations yet, recommendations work without: {error}", highlight=False, markup=False, soft_wrap=True
        )
