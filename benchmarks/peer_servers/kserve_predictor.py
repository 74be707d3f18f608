"""KServe's own Python predictor, without Triton: Open Inference Protocol over gRPC, ONNX Runtime in its process.

python -m benchmarks.peer_servers.kserve_predictor BUNDLE --grpc_port 9000 --http_port 9080
"""

import argparse
import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server

from benchmarks.in_process import InProcess
from polytask.contract.contract import RECOMMENDER, load_contract

NAMES = {"int64": "INT64", "float32": "FP32"}


class Predictor(Model):
    """Text encoder and multi-task model of a bundle, one call per core at a time."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(RECOMMENDER)
        cores = len(os.sched_getaffinity(0))
        self._models = InProcess(bundle, load_contract(bundle), cores, 1)
        self._threads = ThreadPoolExecutor(cores)
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> InferResponse:
        """Tensors in, tensors out."""
        assert isinstance(payload, InferRequest)
        tensors = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        # ONNX Runtime gives the interpreter's lock away while it computes; the server goes on meanwhile.
        answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._models.answer, tensors)
        outputs = []
        for name, values in answer.items():
            output = InferOutput(name, list(values.shape), NAMES[values.dtype.name])
            output.set_data_from_numpy(values, binary_data=True)
            outputs.append(output)
        return InferResponse(payload.id or "", self.name, outputs, use_binary_outputs=True)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("bundle", type=Path)
    arguments = parser.parse_args()
    server = ModelServer(
        http_port=arguments.http_port, grpc_port=arguments.grpc_port, enable_latency_logging=False, workers=1
    )
    server.start([Predictor(arguments.bundle)])


if __name__ == "__main__":
    main()
