"""LitServe: JSON over HTTP, one worker process per core, tensors as base64 of a safetensors file inside the JSON.

python -m benchmarks.peer_servers.litserve_server BUNDLE --http_port 9080
"""

import argparse
import base64
import json
import os
from pathlib import Path
from typing import Any

import litserve
import numpy as np
from safetensors.numpy import load, save

from benchmarks.in_process import InProcess
from polytask.contract.contract import load_contract

PATH = "/predict"
TENSORS = "tensors"


class Api(litserve.LitAPI):
    """Text encoder and multi-task model of a bundle."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(api_path=PATH)
        self._bundle = bundle

    def setup(self, device: str) -> None:
        """Load the models; each worker calls this."""
        self._models = InProcess(self._bundle, load_contract(self._bundle), 1, 1)

    def decode_request(self, request: dict[str, str]) -> dict[str, Any]:
        """JSON -> tensors."""
        return load(base64.b64decode(request[TENSORS]))

    def predict(self, x: dict[str, Any]) -> dict[str, Any]:
        """Tensors in, tensors out."""
        return self._models.answer(x)

    def encode_response(self, output: dict[str, Any]) -> dict[str, str]:
        """Tensors -> JSON."""
        return {TENSORS: encoded(output)}


def encoded(tensors: dict[str, Any]) -> str:
    """Tensors as base64 of a safetensors file."""
    return base64.b64encode(save({name: np.ascontiguousarray(one) for name, one in tensors.items()})).decode()


def body(tensors: dict[str, Any]) -> bytes:
    """The body of a call."""
    return json.dumps({TENSORS: encoded(tensors)}).encode()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--http_port", type=int, required=True)
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    server = litserve.LitServer(Api(arguments.bundle), accelerator="cpu", workers_per_device=cores)
    server.run(host="127.0.0.1", port=arguments.http_port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
