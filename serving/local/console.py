"""The console's server: built from a bundle, a feature store and addresses, it serves until it is stopped."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from polytask.errors import ServingError
from serving.local.server_process import start_server
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
    from serving.console.explanation import Explainer
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
        None if explainer is None else Explainer(explainer),
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


class ConsoleProcess:
    """The console of a running stack, in a process of its own. `address` is what a browser opens."""

    def __init__(
        self,
        url: str,
        bundle: Path,
        feature_store: Path,
        log: Path,
        port: int | None = None,
        explainer: str | None = None,
    ) -> None:
        self.port = choose_port(port)
        self.log = log
        self._options = {"--url": url, "--bundle": bundle, "--feature-store": feature_store, "--port": self.port}
        if explainer is not None:
            self._options["--explainer"] = explainer
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}/"

    def start(self) -> None:
        """Start without waiting: the page is available some seconds later, and reports missing services itself."""
        root = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        words = [word for name, value in self._options.items() for word in (name, str(value))]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            environment = {**os.environ, "PYTHONPATH": paths, "FEAST_USAGE": "False"}
            self._process = start_server([sys.executable, "-m", "serving.console", *words], log, environment)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after a deadline. Harmless when nothing runs."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS + 2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
