"""The explainer of a running stack on this machine, in a process of its own."""

import http.client
import subprocess
import sys
import time
from pathlib import Path

from polytask.errors import ServingError
from serving.local.server_process import server_environment, start_server, stop_server
from serving.local.transformer import MODEL_NAME
from serving.local.triton import HOST, choose_ports

STOP_SECONDS = 15


class ExplainerProcess:
    """Explains what the Triton at `predictor` (host:port, gRPC) serves. `url` is its REST address.

    `release` is the file that names what `load` is to open.
    """

    def __init__(
        self,
        predictor: str,
        bundle: Path,
        feature_store: Path,
        log: Path,
        port: int | None = None,
        *,
        release: Path | None = None,
    ) -> None:
        self.port = choose_ports(port)[0]
        self.log = log
        self._options: dict[str, object] = {
            "--predictor_host": predictor,
            "--bundle": bundle,
            "--feature_store": feature_store,
            "--host": HOST,
            "--http_port": self.port,
            **({} if release is None else {"--release": release}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int | None:
        """Its process id, None when it was not started."""
        return None if self._process is None else self._process.pid

    @property
    def url(self) -> str:
        """Where `/v1/models/recommender:explain` is."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Start without waiting."""
        words = [f"{name}={value}" for name, value in self._options.items()]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = start_server([sys.executable, "-m", "serving.explainer", *words], log, server_environment())

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Return when it responds and reaches its predictor. Raises ServingError with the end of its log if not."""
        end = time.monotonic() + seconds
        while not self._ready():
            if self._process is None or self._process.poll() is not None or time.monotonic() > end:
                lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
                said = f": {lines[-1]}" if lines else ""
                raise ServingError(f"the explainer did not become ready within {seconds:g} s{said} (log: {self.log})")
            time.sleep(0.1)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after a deadline. Harmless when nothing runs."""
        process, self._process = self._process, None
        if process is None:
            return
        stop_server(process, STOP_SECONDS)

    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def load(self, seconds: float) -> None:
        """Let it explain the next release. Raises ServingError with the reason where it cannot."""
        status, content = self._ask("POST", f"/v2/repository/models/{MODEL_NAME}/load", seconds)
        if status != http.client.OK:
            raise ServingError(f"the explainer cannot load the bundle: {content} (log: {self.log})")

    def _ready(self) -> bool:
        return self._ask("GET", "/v2/health/ready", 6)[0] == http.client.OK

    def _ask(self, method: str, path: str, timeout: float) -> tuple[int, str]:
        """Status and content; 0 where there is no response."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, repr(error)
        finally:
            connection.close()
