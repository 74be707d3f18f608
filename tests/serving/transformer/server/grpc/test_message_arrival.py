"""Calls that are open and send no message, on a server of their own: they end, and take no place from others."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from serving.transformer.server.grpc.message_arrival import MessageArrival

LONG = 30.0
METHOD = "/a.Service/Echo"

Check = Callable[[grpc.aio.Channel], Awaitable[None]]


async def echo(message: bytes, context: Any) -> bytes:
    return message


def served(arrival: Callable[[], MessageArrival], check: Check) -> None:
    async def run() -> None:
        server = grpc.aio.server()
        methods = {"Echo": arrival().unary(echo, None)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await check(channel)
        finally:
            await server.stop(0)

    asyncio.run(asyncio.wait_for(run(), 2 * LONG))


async def silent(channel: grpc.aio.Channel) -> Any:
    """A call that is open and sends nothing. It has reached the server once a later call has returned."""
    call = channel.stream_unary(METHOD)(timeout=LONG)
    await call.wait_for_connection()
    await channel.unary_unary(METHOD)(b"a", timeout=LONG)
    return call


def test_a_message_is_handed_on():
    async def check(channel: grpc.aio.Channel) -> None:
        for message in (b"a", b"", b"b" * 10**6):
            assert await channel.unary_unary(METHOD)(message, timeout=LONG) == message

    served(lambda: MessageArrival(LONG, 4), check)


def test_a_call_without_a_message_ends():
    async def check(channel: grpc.aio.Channel) -> None:
        call = channel.stream_unary(METHOD)(timeout=LONG)
        assert await call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert (await call.details()).startswith("message: is not complete, allowed: within 0.1 s")
        assert await channel.unary_unary(METHOD)(b"a", timeout=LONG) == b"a"

    served(lambda: MessageArrival(0.1, 4), check)


def test_a_client_that_ends_its_stream_without_a_message_hears_of_it():
    async def check(channel: grpc.aio.Channel) -> None:
        call = channel.stream_unary(METHOD)(timeout=LONG)
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert await call.details() == "message: is missing, allowed: one"

    served(lambda: MessageArrival(LONG, 4), check)


def test_of_many_calls_that_wait_the_oldest_ends_and_others_are_answered():
    async def check(channel: grpc.aio.Channel) -> None:
        calls = [await silent(channel) for _ in range(3)]
        assert await calls[0].code() == grpc.StatusCode.DEADLINE_EXCEEDED
        for call in calls[-1:]:
            assert not call.done()
            await call.write(b"late")
            await call.done_writing()
            assert await call == b"late"

    served(lambda: MessageArrival(LONG, 2), check)


@pytest.mark.parametrize("message", [b"", b"a"])
def test_a_call_that_its_client_cancels_frees_its_place(message: bytes):
    arrival: list[MessageArrival] = []

    def made() -> MessageArrival:
        arrival.append(MessageArrival(LONG, 4))
        return arrival[0]

    async def check(channel: grpc.aio.Channel) -> None:
        call = await silent(channel)
        assert len(arrival[0]._waiting) == 1
        call.cancel()
        async with asyncio.timeout(LONG):
            while arrival[0]._waiting:
                await asyncio.sleep(0.01)
        assert await channel.unary_unary(METHOD)(message, timeout=LONG) == message

    served(made, check)
