"""The standard services of a gRPC server: `grpc.health.v1.Health`, which probes and proxies call, and reflection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from serving.transformer.limits import MAX_WATCHERS, REFLECTION_SECONDS

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
# The same messages under two names: today's clients ask for v1 first, and grpcio-reflection serves v1alpha.
REFLECTIONS = (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
WATCH_SECONDS = 1.0

# True: ready; False: not ready; None: no such service. '' is the server.
HealthOf = Callable[[str], Awaitable[bool | None]]


class HealthServicer(health_pb2_grpc.HealthServicer):
    """SERVING while `health_of` a service says so."""

    def __init__(self, health_of: HealthOf) -> None:
        self._health_of = health_of
        self._watchers = 0
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End the calls of `Watch`, which would otherwise last as long as their clients want."""
        self._stopped.set()

    async def Check(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """The status of a service. NOT_FOUND for one that there is not."""
        status = await self._status(request.service)
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"service: {request.service[:60]!r} is not served")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        """The status of a service now and at each change. RESOURCE_EXHAUSTED when too many watch."""
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
    """Reflection whose calls end after some seconds: a client may keep one open without asking anything."""

    async def ServerReflectionInfo(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        """See grpcio-reflection. DEADLINE_EXCEEDED after `REFLECTION_SECONDS`."""
        try:
            async with asyncio.timeout(REFLECTION_SECONDS):
                async for response in super().ServerReflectionInfo(requests, context):
                    yield response
        except TimeoutError:
            allowed = f"a call of reflection may last {REFLECTION_SECONDS:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, allowed)


def add_health_and_reflection(server: grpc.aio.Server, health_of: HealthOf, service: str) -> HealthServicer:
    """Serve both. `service` is the full name of the server's own service, which reflection lists with the others."""
    health = HealthServicer(health_of)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    servicer = BoundedReflection((service, HEALTH, reflection.SERVICE_NAME))
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in REFLECTIONS:
        methods = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
    return health
