"""The one message of a gRPC call, awaited within bounds: a call that is open and sends none takes a place from others.

grpc.aio itself waits for the message of a unary call as long as the client wants. Calls are therefore registered as
streams of requests, of which the first is read here; on the wire there is no difference.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc.aio
from google.protobuf.message import DecodeError

Method = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]


class MessageArrival:
    """Waits `seconds` for a message, and of more than `most` calls that wait lets go of the oldest: a message usually
    comes with its call, so that those that wait long are not the ordinary ones. Belongs to one event loop.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._waiting: dict[asyncio.Timeout, None] = {}  # the oldest first

    async def message(self, context: grpc.aio.ServicerContext) -> Any:
        """The message of a call as bytes.

        Ends the call with DEADLINE_EXCEEDED where it does not come in time, and with INVALID_ARGUMENT where the client
        ends its stream without one.
        """
        self._let_go()
        waiting = asyncio.timeout(self._seconds)
        try:
            async with waiting:
                self._waiting[waiting] = None
                message = await context.read()
        except TimeoutError:
            allowed = f"within {self._seconds:g} s, or less where over {self._most} calls wait for theirs"
            await _end(context, grpc.StatusCode.DEADLINE_EXCEEDED, f"message: is not complete, allowed: {allowed}")
        finally:
            self._waiting.pop(waiting, None)
        if message is grpc.aio.EOF:
            await _end(context, grpc.StatusCode.INVALID_ARGUMENT, "message: is missing, allowed: one")
        return message

    def unary(self, method: Method, serializer: Any) -> grpc.RpcMethodHandler:
        """The handler of a method that gets the message as bytes and returns one response."""

        async def answer(_: Any, context: grpc.aio.ServicerContext) -> Any:
            return await method(await self.message(context), context)

        return grpc.stream_unary_rpc_method_handler(answer, response_serializer=serializer)

    def _let_go(self) -> None:
        while len(self._waiting) >= self._most:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            if not oldest.expired():
                oldest.reschedule(asyncio.get_running_loop().time())


async def parsed_or_end(kind: Any, message: bytes, context: grpc.aio.ServicerContext) -> Any:
    """The message of some bytes. Ends the call with INVALID_ARGUMENT where they are none."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        reason = f"message: is not a {kind.DESCRIPTOR.name}: {error}"
        await _end(context, grpc.StatusCode.INVALID_ARGUMENT, reason)


async def _end(context: grpc.aio.ServicerContext, status: grpc.StatusCode, reason: str) -> NoReturn:
    await context.abort(status, reason)
    raise AssertionError("abort raises")
