"""The console's server: built from a bundle, a feature store and addresses, it serves until it is stopped."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path

from polytask.errors import ServingError
from serving.local.server_process import ServerProcess
from serving.local.triton import HOST, choose_ports

PORT = 8700
STOP_SECONDS = 5


def choose_port(wanted: int | None) -> int:
    """The wanted port; where none is wanted the usual one, so that links stay good, or a free one if that is taken."""
    try:
        return choose_ports(wanted or PORT)[0]
    except ServingError:
        if wanted is not None:
            raise
        return choose_ports(None)[0]


def run(
    url: str,
    bundle: Path,
    feature_store: Path | None,
    compare: str | None,
    explainer: str | None,
    port: int,
    announce: Callable[[], None] = lambda: None,
) -> None:
    """Serve on this machine only, until SIGINT or SIGTERM. `announce` is called when the page is there.

    Raises ContractError where bundle or store do not fit.
    """
    import uvicorn

    from serving.console.app import Console, build_app
    from serving.console.directory import Directory
    from serving.console.explanation import ExplainerClient
    from serving.console.service import Service
    from serving.transformer.bundle import load_bundle
    from serving.transformer.features.reader import FeatureReader

    loaded = load_bundle(bundle)
    scenario = loaded.contract.scenario
    features = None if feature_store is None else FeatureReader(feature_store, scenario)
    console = Console(
        Directory(scenario, loaded.catalogues, features),
        Service(url),
        None if compare is None else Service(compare),
        loaded.checksum,
        None if explainer is None else ExplainerClient(explainer),
    )
    config = uvicorn.Config(
        build_app(console),
        host=HOST,
        port=port,
        log_level="warning",
        access_log=False,  # an address holds what a user typed
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        limit_concurrency=64,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                announce()

    Server(config).run()


class ConsoleProcess(ServerProcess):
    """The console of a running stack, in a process of its own. `address` is what a browser opens.

    The page is available some seconds after the start, and reports by itself which servers are unavailable.
    """

    name = "the console"
    stop_seconds = STOP_SECONDS + 2.0

    def __init__(
        self,
        url: str,
        bundle: Path,
        feature_store: Path,
        log: Path,
        port: int | None = None,
        explainer: str | None = None,
    ) -> None:
        super().__init__(log)
        self.port = choose_port(port)
        self._options = {"--url": url, "--bundle": bundle, "--feature-store": feature_store, "--port": self.port}
        if explainer is not None:
            self._options["--explainer"] = explainer

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}/"

    def command(self) -> list[str]:
        """`python -m serving.console` with its options."""
        words = [word for name, value in self._options.items() for word in (name, str(value))]
        return [sys.executable, "-m", "serving.console", *words]

    def not_ready(self) -> str | None:
        """None when the page's port accepts connections."""
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError as error:
            return str(error)
        return None
