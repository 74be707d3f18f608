"""The transformer in a process of its own on this machine, as the local stack runs it."""

import atexit
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polytask.errors import ContractError, ServingError
from serving.local.server_process import server_environment, start_server
from serving.local.triton import HOST

MODEL_NAME = "recommender"
STOP_SECONDS = 10
LOG_LINES = 12


class TransformerProcess:
    """`python -m serving.transformer` with what `options` gives at each start; its output goes to `log`."""

    def __init__(
        self, options: Callable[[], Mapping[str, object]], log: Path, http_port: int, deadline_seconds: float
    ) -> None:
        self.log = log
        self._options = options
        self._http_port = http_port
        self._deadline_seconds = deadline_seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int | None:
        """Its process id, None when it was not started."""
        return None if self._process is None else self._process.pid

    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait for nothing."""
        fixed = {"--model_name": MODEL_NAME, "--predictor_protocol": "grpc-v2", "--host": HOST}
        options = {**fixed, **self._options()}
        command = [sys.executable, "-m", "serving.transformer", *(f"{name}={value}" for name, value in options.items())]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = start_server(command, log, server_environment())
        atexit.register(self.stop)

    def stop(self) -> None:
        """Let it end its calls; kill it when it takes too long. Harmless when it does not run."""
        process = self._process
        if process is None:
            return
        try:
            process.terminate()
            process.wait(self._deadline_seconds + STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        finally:
            self._process = None
            atexit.unregister(self.stop)

    def wait_until_ready(self, seconds: float, check: Callable[[], None]) -> None:
        """Return when it is ready; `check` raises where waiting is in vain. Raises ContractError, ServingError."""
        end = time.monotonic() + seconds
        reason = "it does not respond"
        while time.monotonic() < end:
            check()
            status, content = self._ask("GET", "/v2/health/ready", self._deadline_seconds + 5)
            if status == http.client.OK:
                return
            if content.get("contract_mismatch"):
                raise ContractError(content["error"])
            reason = content.get("error", reason)
            time.sleep(0.1)
        fix = "; is the online store up that feature_store.yaml names?" if "feature store" in reason else ""
        raise ServingError(f"the transformer was not ready within {seconds:g} s: {reason}{fix} (log: {self.log})")

    def load(self, seconds: float) -> None:
        """Let it serve the next release. Raises ServingError with the reason where it cannot."""
        status, content = self._ask("POST", f"/v2/repository/models/{MODEL_NAME}/load", seconds)
        if status != http.client.OK:
            reason = content.get("error", "it does not respond")
            raise ServingError(f"the transformer cannot load the bundle: {reason} (log: {self.log})")

    def _ask(self, method: str, path: str, timeout: float) -> tuple[int, dict[str, Any]]:
        """Status and content; 0 where there is no response."""
        connection = http.client.HTTPConnection(HOST, self._http_port, timeout=timeout)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            content = json.loads(response.read())
            return response.status, content if isinstance(content, dict) else {}
        except (OSError, http.client.HTTPException, ValueError):
            return 0, {}
        finally:
            connection.close()


def last_lines(log: Path) -> str:
    """The last errors of a log, or its last lines where it has none, and where to read on."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    errors = [line for line in lines if line.startswith("error: ")]
    return "\n".join([*(errors or lines)[-LOG_LINES:], f"(log: {log})"])
