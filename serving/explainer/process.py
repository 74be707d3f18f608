"""The explainer beside a running stack on this machine, in a process of its own."""

import http.client
import subprocess
import sys
import time
from pathlib import Path

from polytask.errors import ServingError
from serving.started_server import server_environment, stop_server
from serving.triton.server import HOST, choose_ports

STOP_SECONDS = 15


class ExplainerProcess:
    """Explains what the Triton at `predictor` (host:port, gRPC) serves. `url` is its REST address."""

    def __init__(self, predictor: str, bundle: Path, feature_store: Path, log: Path, port: int | None = None) -> None:
        self.port = choose_ports(port)[0]
        self.log = log
        self._options: dict[str, object] = {
            "--predictor_host": predictor,
            "--bundle": bundle,
            "--feature_store": feature_store,
            "--host": HOST,
            "--http_port": self.port,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where `/v1/models/recommender:explain` is."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Start without waiting."""
        words = [f"{name}={value}" for name, value in self._options.items()]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            # A session of its own: a Ctrl-C at the terminal reaches us alone, and we stop the servers in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving.explainer", *words],
                env=server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def follow(self, predictor: str, bundle: Path) -> None:
        """Explain what another Triton serves, at the same address; nobody is answered until it is ready again."""
        self.stop()
        self._options.update({"--predictor_host": predictor, "--bundle": bundle})
        self.start()

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Return when it answers and reaches its predictor. Raises ServingError with the end of its log if not."""
        end = time.monotonic() + seconds
        while not self._ready():
            if self._process is None or self._process.poll() is not None or time.monotonic() > end:
                lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
                raise ServingError("\n".join(["the explainer did not become ready:", *lines, f"(log: {self.log})"]))
            time.sleep(0.1)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after a deadline. Harmless when nothing runs."""
        process, self._process = self._process, None
        if process is None:
            return
        stop_server(process, STOP_SECONDS)

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=6)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
