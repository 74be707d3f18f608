"""KServe's gRPC server without what doubles the cost of a small call: interceptors, and copies of its messages."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
from google.protobuf.message import DecodeError
from kserve.errors import InvalidInput, ModelNotFound, ServerNotReady
from kserve.logging import logger
from kserve.protocol.grpc import grpc_predict_v2_pb2
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer

from serving.transformer.api.error_text import shown, status_text
from serving.transformer.concurrency.admission import RETRY_AFTER_SECONDS, Overloaded
from serving.transformer.concurrency.deadline import CLIENT_SECONDS
from serving.transformer.server.grpc.health import HealthServicer, add_health_and_reflection
from serving.transformer.server.grpc.message_arrival import MessageArrival
from serving.transformer.server.grpc.message_parts import COUNTED_BYTES, check_size
from serving.transformer.server.grpc.options import server_options
from serving.transformer.server.limits import Limits
from serving.transformer.server.served_model import ServedModel, statuses

SERVICE = grpc_predict_v2_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
STATUSES = ExceptionToStatusInterceptor()


class CheckedServicer(InferenceServicer):
    """Hands inferences to the model as they came, and takes its messages as they are."""

    def __init__(self, *arguments: Any, most_elements: int) -> None:
        """`most_elements` bounds those in the typed contents of a request; the rest is the SDK's."""
        super().__init__(*arguments)
        self._most_elements = most_elements

    async def ModelInfer(self, message: bytes, context: Any) -> Any:
        """An inference within the caller's own deadline. It is parsed only if it may find a place."""
        CLIENT_SECONDS.set(context.time_remaining())
        headers = dict(context.invocation_metadata() or ())
        for model in self._data_plane.model_registry.get_models().values():
            model.check_place(headers)
        with statuses():
            check_size(message, self._most_elements)
        request = parsed(grpc_predict_v2_pb2.ModelInferRequest, message)
        self._model(request.model_name)
        self.validate_grpc_request(request)
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
        servicer = CheckedServicer(
            self._data_plane, self._model_repository_extension, most_elements=self._limits.json_values // 2
        )
        arrival = MessageArrival(self._limits.body_seconds, self._limits.arriving)
        self._server.add_generic_rpc_handlers((handlers(servicer, arrival),))
        self._health = add_health_and_reflection(self._server, self._health_of, SERVICE.full_name, arrival)
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


def handlers(servicer: CheckedServicer, arrival: MessageArrival) -> grpc.GenericRpcHandler:
    """The methods of a servicer; their errors become the statuses that the SDK's interceptor would make of them.

    An inference comes as bytes, which are checked before they are parsed; the other requests are small.
    """
    methods = {}
    for name, method in SERVICE.methods_by_name.items():
        kind, response_kind = (getattr(grpc_predict_v2_pb2, of.name) for of in (method.input_type, method.output_type))
        answer = getattr(servicer, name)
        if name != "ModelInfer":
            answer = partial(_small, kind, answer)
        methods[name] = arrival.unary(_answering(name, answer), response_kind.SerializeToString)
    return grpc.method_handlers_generic_handler(SERVICE.full_name, methods)


def parsed(kind: Any, message: bytes) -> Any:
    """The message of some bytes. Raises InvalidInput where they are none."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise InvalidInput(f"message: is not a {kind.DESCRIPTOR.name}: {error}") from error


async def _small(kind: Any, method: Callable[[Any, Any], Awaitable[Any]], message: bytes, context: Any) -> Any:
    if len(message) > COUNTED_BYTES:
        raise InvalidInput(f"message: {len(message)} bytes, allowed: at most {COUNTED_BYTES}")
    return await method(parsed(kind, message), context)


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
            await STATUSES.handle_exception(error, request, _ShortStatus(context), name)

    return answer


class _ShortStatus:
    """A call that is ended with no more text than its client can read; the SDK's own errors repeat whole names."""

    def __init__(self, context: grpc.aio.ServicerContext) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        await self._context.abort(code, status_text(details))
