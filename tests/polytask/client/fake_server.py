"""A small gRPC server that records requests, fails as configured, and returns one number for one user."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc


@dataclass
class FakeServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """`refusals` are returned first, one per call, with `retry_after` if given; `url` is the server's address."""

    retry_after: str | None = None
    times: list[float] = field(default_factory=list)
    refusals: list[grpc.StatusCode] = field(default_factory=list)
    url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list)
    seconds_left: list[float] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)

    def ModelInfer(self, request: messages.ModelInferRequest, context: grpc.ServicerContext) -> Any:
        self.headers.append(dict(context.invocation_metadata()))
        self.seconds_left.append(context.time_remaining())
        self.inputs.append({tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in request.inputs})
        self.times.append(time.monotonic())
        if self.refusals:
            if self.retry_after is not None:
                context.set_trailing_metadata((("retry-after", self.retry_after),))
            context.abort(self.refusals.pop(0), "k: 0, allowed: 1 to 10")
        response = messages.ModelInferResponse(model_name=request.model_name, model_version="3")
        response.parameters["contract_checksum"].string_param = "c" * 64
        response.parameters["features_ms"].double_param = 1.5
        response.parameters["predictor_ms"].string_param = "2.25"
        for name, datatype, values in (
            ("stars_values", "FP32", np.float32([[4.5]])),
            *(
                (flag, "BOOL", np.array([[False]]))
                for flag in ("cold_start", "truncated", "stale_features", "degraded")
            ),
        ):
            response.outputs.add(name=name, datatype=datatype, shape=[1, 1])
            response.raw_output_contents.append(values.tobytes())
        return response

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        response = messages.ModelMetadataResponse(name=request.name)
        response.inputs.add(name="user_id", datatype="INT64", shape=[-1, 1])
        return response


@contextmanager
def running(credentials: grpc.ServerCredentials | None = None) -> Iterator[FakeServer]:
    """A fake server on a free port of this machine."""
    fake = FakeServer()
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(fake, server)
    address = "localhost:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    fake.url = f"localhost:{port}"
    server.start()
    try:
        yield fake
    finally:
        server.stop(grace=1).wait(5)
