"""A server with the REST endpoints of a model, in a process of its own: the transformer and the explainer."""

import http.client
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polytask.errors import ContractError, ServingError
from serving.local.server_process import ServerProcess
from serving.local.triton import HOST

MODEL_NAME = "recommender"


class ModelProcess(ServerProcess):
    """`python -m module --name=value ...` whose REST endpoints are at `port`.

    `readiness_seconds` is how long a request for its readiness may take.
    """

    module: str
    readiness_seconds: float = 6.0

    def __init__(self, log: Path, port: int) -> None:
        super().__init__(log)
        self.port = port

    def options(self) -> Mapping[str, object]:
        """The arguments of the server by their names."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """The module with its options."""
        return [sys.executable, "-m", self.module, *(f"{name}={value}" for name, value in self.options().items())]

    def not_ready(self) -> str | None:
        """Request the server's readiness. Raises ContractError where its model has another contract."""
        status, content = self._send_request("GET", "/v2/health/ready", self.readiness_seconds)
        if status == http.client.OK:
            return None
        if content.get("contract_mismatch"):
            raise ContractError(content["error"])
        return str(content.get("error", "it does not respond"))

    def load(self, seconds: float) -> None:
        """Let it serve the next release. Raises ServingError with the reason where it cannot."""
        status, content = self._send_request("POST", f"/v2/repository/models/{MODEL_NAME}/load", seconds)
        if status != http.client.OK:
            reason = content.get("error", "it does not respond")
            raise ServingError(f"{self.name} cannot load the bundle: {reason} (log: {self.log})")

    def _send_request(self, method: str, path: str, timeout: float) -> tuple[int, dict[str, Any]]:
        """Status and content; 0 where there is no response."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            content = json.loads(response.read())
            return response.status, content if isinstance(content, dict) else {}
        except (OSError, http.client.HTTPException, ValueError):
            return 0, {}
        finally:
            connection.close()
