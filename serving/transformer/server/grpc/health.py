"""The standard services of a gRPC server: `grpc.health.v1.Health`, which probes and proxies call, and reflection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from serving.transformer.server.grpc.message_arrival import MessageArrival, parsed_or_end
from serving.transformer.server.limits import MAX_WATCHERS, REFLECTION_SECONDS

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
# The same messages under two names: today's clients request v1 first, and grpcio-reflection serves v1alpha.
REFLECTIONS = (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
WATCH_SECONDS = 1.0

# True: ready; False: not ready; None: no such service. '' is the server.
HealthOf = Callable[[str], Awaitable[bool | None]]


class HealthServicer:
    """SERVING while `health_of` a service reports it. Its methods get a HealthCheckRequest as bytes."""

    def __init__(self, health_of: HealthOf) -> None:
        self._health_of = health_of
        self._watchers = 0
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End the calls of `Watch`, which would otherwise last as long as their clients want."""
        self._stopped.set()

    async def Check(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """The status of a service. NOT_FOUND for one that there is not."""
        request = await parsed_or_end(health_pb2.HealthCheckRequest, message, context)
        status = await self._status(request.service)
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"service: {request.service[:60]!r} is not served")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, message: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        """The status of a service now and at each change. RESOURCE_EXHAUSTED when too many watch."""
        request = await parsed_or_end(health_pb2.HealthCheckRequest, message, context)
        if self._watchers >= MAX_WATCHERS:
            allowed = f"{MAX_WATCHERS} calls of Watch are open, which is the limit"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, allowed)
        self._watchers += 1
        try:
            last, ended = None, False
            while not ended:
                ended = await self._pause(0 if last is None else WATCH_SECONDS)
                status = await self._status(request.service)
                if status != last:
                    yield health_pb2.HealthCheckResponse(status=status)
                    last = status
        finally:
            self._watchers -= 1

    async def _pause(self, seconds: float) -> bool:
        """Wait so long, or until the server stops; whether it stops."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _status(self, service: str) -> Any:
        answers = {
            True: health_pb2.HealthCheckResponse.SERVING,
            False: health_pb2.HealthCheckResponse.NOT_SERVING,
            None: health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
        }
        return answers[await self._health_of(service)]


class BoundedReflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]
    """Reflection of bounded calls, in number and in seconds: a client may keep one open without sending a request."""

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__(services)
        self._open = 0

    async def ServerReflectionInfo(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        """See grpcio-reflection; `requests` are bytes. DEADLINE_EXCEEDED after `REFLECTION_SECONDS`, RESOURCE_EXHAUSTED
        when too many calls are open, INVALID_ARGUMENT for bytes that are no request.
        """
        if self._open >= MAX_WATCHERS:
            allowed = f"{MAX_WATCHERS} calls of reflection are open, which is the limit"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, allowed)
        self._open += 1
        try:
            async with asyncio.timeout(REFLECTION_SECONDS):
                async for response in super().ServerReflectionInfo(_parsed(requests, context), context):
                    yield response
        except TimeoutError:
            allowed = f"a call of reflection may last {REFLECTION_SECONDS:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, allowed)
        finally:
            self._open -= 1


async def _parsed(requests: Any, context: Any) -> AsyncIterator[Any]:
    async for message in requests:
        yield await parsed_or_end(reflection_pb2.ServerReflectionRequest, message, context)


def add_health_and_reflection(
    server: grpc.aio.Server, health_of: HealthOf, service: str, arrival: MessageArrival
) -> HealthServicer:
    """Serve both. `service` is the full name of the server's own service, which reflection lists with the others."""
    health = HealthServicer(health_of)

    async def watch(_: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        async for response in health.Watch(await arrival.message(context), context):
            yield response

    serializer = health_pb2.HealthCheckResponse.SerializeToString
    methods = {
        "Check": arrival.unary(health.Check, serializer),
        "Watch": grpc.stream_stream_rpc_method_handler(watch, response_serializer=serializer),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(HEALTH, methods),))
    servicer = BoundedReflection((service, HEALTH, reflection.SERVICE_NAME))
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in REFLECTIONS:
        methods = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
    return health
