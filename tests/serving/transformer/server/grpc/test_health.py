"""The health service on its own server: its status follows the server, and its watchers are counted."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.transformer.server.grpc import health as grpc_health
from serving.transformer.server.grpc.health import HEALTH, REFLECTIONS, HealthServicer, add_health_and_reflection
from serving.transformer.server.grpc.message_arrival import MessageArrival

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
ANY = health_pb2.HealthCheckRequest()


class State:
    """Whether the server is ready."""

    def __init__(self) -> None:
        self.ready = True

    async def of(self, service: str) -> bool | None:
        return self.ready if service == "" else None


def served(check: Callable[[State, HealthServicer, Any], Awaitable[None]]) -> None:
    async def run() -> None:
        server, state = grpc.aio.server(), State()
        health = add_health_and_reflection(server, state.of, "a.Service", MessageArrival(30, 8))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                stub.channel = channel
                await check(state, health, stub)
        finally:
            await server.stop(0)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_the_status_follows_the_server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grpc_health, "WATCH_SECONDS", 0.01)

    async def check(state: State, health: HealthServicer, stub: Any) -> None:
        watch = stub.Watch(ANY, timeout=30)
        assert (await watch.read()).status == SERVING
        state.ready = False
        assert (await watch.read()).status == NOT_SERVING
        assert (await stub.Check(ANY, timeout=30)).status == NOT_SERVING
        state.ready = True
        assert (await watch.read()).status == SERVING

    served(check)


def test_watching_ends_with_the_server_after_the_last_status():
    async def check(state: State, health: HealthServicer, stub: Any) -> None:
        watch = stub.Watch(ANY, timeout=30)
        assert (await watch.read()).status == SERVING
        state.ready = False
        health.stop()
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() == grpc.aio.EOF

    served(check)


def test_only_so_many_may_watch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grpc_health, "MAX_WATCHERS", 2)

    async def check(state: State, health: HealthServicer, stub: Any) -> None:
        watches = [stub.Watch(ANY, timeout=30) for _ in range(2)]
        for watch in watches:
            await watch.read()
        with pytest.raises(grpc.RpcError) as caught:
            await stub.Watch(ANY, timeout=30).read()
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.Check(ANY, timeout=30)).status == SERVING

    served(check)


@pytest.mark.parametrize(
    "method", [f"{HEALTH}/Check", f"{HEALTH}/Watch", *map("{}/ServerReflectionInfo".format, REFLECTIONS)]
)
def test_bytes_that_are_no_request_are_the_fault_of_the_client(method: str, caplog: pytest.LogCaptureFixture):
    async def check(state: State, health: HealthServicer, stub: Any) -> None:
        call = stub.channel.stream_stream(f"/{method}")(iter([b"\xff"]), timeout=30)
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert (await call.details()).startswith("message: is not a ")

    served(check)
    # grpcio's poller may report the closed event loop of an earlier test.
    assert not [record for record in caplog.records if "PollerCompletionQueue" not in record.getMessage()]


@pytest.mark.parametrize("name", REFLECTIONS)
def test_only_so_many_calls_of_reflection_are_open(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grpc_health, "MAX_WATCHERS", 2)

    async def check(state: State, health: HealthServicer, stub: Any) -> None:
        method = stub.channel.stream_stream(f"/{name}/ServerReflectionInfo")
        calls = [method(timeout=30) for _ in range(2)]
        for call in calls:
            await call.write(b"")
            await call.read()
        assert await method(timeout=30).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        calls[0].cancel()
        async with asyncio.timeout(30):
            while await answered(method) == grpc.aio.EOF:
                await asyncio.sleep(0.01)

    async def answered(method: Any) -> Any:
        call = method(timeout=30)
        try:
            await call.write(b"")
            return await call.read()
        except (grpc.RpcError, asyncio.InvalidStateError):
            return grpc.aio.EOF
        finally:
            call.cancel()

    served(check)
