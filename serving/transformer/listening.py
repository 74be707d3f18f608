"""Where the servers listen: KServe's listen on all addresses, and have no option for another one."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import kserve.model_server
import kserve.protocol.grpc.server as kserve_grpc
from grpc import aio
from kserve import ModelServer
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor, LoggingInterceptor

MESSAGE_LIMITS = ("grpc_max_send_message_length", "grpc_max_receive_message_length")


class BoundGrpcServer(kserve_grpc.GRPCServer):
    """KServe's gRPC server, on one address."""

    def __init__(self, *arguments: Any, host: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._host = host

    async def start(self, max_workers: int) -> None:
        """As KServe's does, but for the address. Raises RuntimeError where it cannot be listened on."""
        limits = [(name.replace("grpc_", "grpc."), self._kwargs.get(name)) for name in MESSAGE_LIMITS]
        self._server = aio.server(
            ThreadPoolExecutor(max_workers=max_workers),
            interceptors=(LoggingInterceptor(), ExceptionToStatusInterceptor()),
            options=limits,
        )
        servicer = kserve_grpc.InferenceServicer(self._data_plane, self._model_repository_extension)
        grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        self._server.add_insecure_port(f"{self._host}:{self._port}")
        await self._server.start()
        await self._server.wait_for_termination()


class BoundModelServer(ModelServer):
    """KServe's server on the addresses of `host`; '' means all, which is what a cluster wants."""

    def __init__(self, *, host: str = "", **options: Any) -> None:
        super().__init__(**options)
        self._host = host
        if host:
            # The SDK's server takes no other one: this name is the seam it has.
            kserve.model_server.GRPCServer = partial(BoundGrpcServer, host=host)

    def bind_rest(self) -> None:
        """Choose the address of the HTTP server, which is made by now and does not listen yet."""
        if self._host:
            self._rest_server.config.host = self._host

    async def _serve(self) -> None:
        self.bind_rest()
        await super()._serve()
