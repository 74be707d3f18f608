"""REST calls end when their clients leave, as gRPC's do by themselves."""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class CallsEndWithClients:
    """ASGI middleware: a POST whose client has closed the connection is cancelled, which frees what it holds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and watch meanwhile whether the client leaves."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        messages: asyncio.Queue[Message] = asyncio.Queue()
        ended = False

        async def note(message: Message) -> None:
            nonlocal ended
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        working = asyncio.ensure_future(self._app(scope, messages.get, note))
        watching = asyncio.ensure_future(_pass_on(receive, messages))
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            # The server sends "disconnect" after a whole response too: then the call is about to end by itself.
            if working.done() or ended:
                await working
                return
            await _cancelled(working)
        finally:
            await _cancelled(watching)
            await _cancelled(working)


async def _pass_on(receive: Receive, messages: "asyncio.Queue[Message]") -> None:
    """Hand every message on until the client has left. A body is one message, read by `RequestBodies`."""
    while True:
        message = await receive()
        messages.put_nowait(message)
        if message["type"] == "http.disconnect":
            return


async def _cancelled(task: "asyncio.Future[Any]") -> None:
    """Cancel a task, unless it is done, and wait until it has ended."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
