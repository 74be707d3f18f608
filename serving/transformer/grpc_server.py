"""KServe's gRPC server without what doubles the cost of a small call: interceptors, and copies of its messages."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
from kserve.errors import ModelNotFound, ServerNotReady
from kserve.logging import logger
from kserve.protocol.grpc import grpc_predict_v2_pb2, grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer

from serving.transformer.admission import RETRY_AFTER_SECONDS, Overloaded
from serving.transformer.deadline import CLIENT_SECONDS
from serving.transformer.grpc_health import HealthServicer, add_health_and_reflection
from serving.transformer.grpc_options import server_options
from serving.transformer.limits import Limits
from serving.transformer.served_model import ServedModel, shown

SERVICE = grpc_predict_v2_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
METHODS = tuple(SERVICE.methods_by_name)
STATUSES = ExceptionToStatusInterceptor()


class CheckedServicer(InferenceServicer):
    """Hands inferences to the model as they came, and takes its messages as they are."""

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """An inference that may take no longer than the caller's own deadline."""
        CLIENT_SECONDS.set(context.time_remaining())
        self._model(request.model_name)
        self.validate_grpc_request(request)
        headers = dict(context.invocation_metadata() or ())
        response, _ = await self._data_plane.infer(request.model_name, request, headers)
        return response

    async def ModelReady(self, request: Any, context: Any) -> Any:
        """Whether the named version, or any without a name, is ready. NOT_FOUND for one that is not served."""
        self._model(request.name).release_of(request.version)
        return await super().ModelReady(request, context)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        """Inputs and outputs of the named version, and the versions that are served."""
        return grpc_predict_v2_pb2.ModelMetadataResponse(**self._model(request.name).metadata(request.version))

    def _model(self, name: str) -> ServedModel[Any]:
        model: ServedModel[Any] | None = self._data_plane.model_registry.get_model(name)
        if model is None:
            raise ModelNotFound(shown(name))
        return model


class CallServer(GRPCServer):
    """The SDK's server, whose own `start` takes no servicer, and has interceptors around every call."""

    def __init__(
        self,
        *arguments: Any,
        limits: Limits,
        host: str = "",
        certificate: tuple[str, str] | None = None,
        **options: Any,
    ) -> None:
        """Prepare the server.

        Args:
            arguments: The SDK's.
            limits: Bounds of messages, calls and connections.
            host: The address to listen on, '' for all.
            certificate: Paths of a certificate chain and of its key; None serves plain text.
            options: The SDK's.
        """
        super().__init__(*arguments, **options)
        self._certificate = certificate
        self._host = host or "[::]"
        self._limits = limits
        self._health: HealthServicer | None = None

    async def start(self, max_workers: int) -> None:
        """Serve until it is stopped. All work is done in the event loop: there are no workers.

        Raises RuntimeError where the address cannot be listened on.
        """
        self._server = grpc.aio.server(
            options=server_options(self._limits, self._kwargs), maximum_concurrent_rpcs=self._limits.rpcs
        )
        servicer = Answering(CheckedServicer(self._data_plane, self._model_repository_extension))
        grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        self._health = add_health_and_reflection(self._server, self._health_of, SERVICE.full_name)
        address = f"{self._host}:{self._port}"
        if self._certificate is None:
            self._server.add_insecure_port(address)
        else:
            chain, key = (Path(path).read_bytes() for path in self._certificate)
            self._server.add_secure_port(address, grpc.ssl_server_credentials([(key, chain)]))
        logger.info("Starting gRPC server on %s", address)
        await self._server.start()
        await self._server.wait_for_termination()

    async def stop(self, sig: int | None = None) -> None:
        """End the calls that last as long as their clients want, then as the SDK does."""
        if self._health is not None:
            self._health.stop()
        await super().stop(sig)

    async def _health_of(self, service: str) -> bool | None:
        if service not in ("", SERVICE.full_name) and self._data_plane.model_registry.get_model(service) is None:
            return None
        try:
            return bool(await self._data_plane.ready())
        except ServerNotReady:
            return False


class Answering:
    """The methods of a servicer; their errors become the statuses that the SDK's interceptor would make of them."""

    def __init__(self, servicer: InferenceServicer) -> None:
        for name in METHODS:
            setattr(self, name, _answering(name, getattr(servicer, name)))


def _answering(
    name: str, method: Callable[[Any, Any], Awaitable[Any]]
) -> Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]:
    async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await method(request, context)
        except Exception as error:  # noqa: BLE001 - what no status is known for becomes INTERNAL
            seconds = RETRY_AFTER_SECONDS if isinstance(error, Overloaded) else getattr(error, "retry_after", None)
            if seconds is not None:
                # The second is what gRPC's own retry policies read.
                pushback = ("grpc-retry-pushback-ms", str(1000 * seconds))
                context.set_trailing_metadata((("retry-after", str(seconds)), pushback))
            await STATUSES.handle_exception(error, request, context, name)

    return answer
