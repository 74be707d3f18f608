"""The command `polytask console`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from polytask.contract.contract import CONTRACT_FILE
from polytask.errors import ServingError
from polytask.progress import progress_console

BUNDLE = Path("build/demo/movielens/published/current")
FEATURE_STORE = Path("build/demo/movielens/feature_store")


def console(
    url: Annotated[
        str | None, typer.Option(help="host:port of the recommender's gRPC endpoint; default: the running stack.")
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="host:port of a second recommender, such as another version, to compare with.")
    ] = None,
    explainer: Annotated[
        str | None, typer.Option(help="REST address of an explainer, to show why; default: the running stack's.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the served bundle; default: the running stack's, or the demo's.")
    ] = None,
    feature_store: Annotated[
        Path | None,
        typer.Option(help="Folder that holds feature_store.yaml; default: the running stack's, or the demo's."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the page; default: 8700, or a free one.")
    ] = None,
) -> None:
    """Serve a local web page that calls the recommender and shows its recommendations.

    The page is served on this machine only. polytask serve starts one too.

    Examples:
      polytask console
      polytask console --compare 127.0.0.1:8082
      polytask console --url recommender.example:80 --bundle published/current
    """
    from serving.local.console import choose_port, run
    from serving.local.stack import STATE_FILE, read_state
    from serving.local.triton import HOST

    state = read_state(STATE_FILE) or {}
    address = url or state.get("grpc")
    if address is None:
        raise ServingError("no recommender runs here; start one with `make serve`, or name one with --url host:port")
    bundle = bundle or Path(state.get("bundle", BUNDLE))
    if not (bundle / CONTRACT_FILE).is_file():
        raise ServingError(f"{bundle}: holds no exported model; name the served one with --bundle")
    store: Path | None = feature_store
    if feature_store is None:
        usual = Path(state.get("feature_store", FEATURE_STORE))
        # Without a store, history and profile are not shown, and the page reports that.
        store = usual if (usual / "feature_store.yaml").is_file() else None
    port = choose_port(port)
    printed = Console()

    def announce() -> None:
        printed.print(f"Console  http://{HOST}:{port}/    Stop it: Ctrl-C", highlight=False)

    try:
        run(address, bundle, store, compare, explainer or state.get("explainer"), port, announce)
    except KeyboardInterrupt:
        progress_console().print("stopping")
