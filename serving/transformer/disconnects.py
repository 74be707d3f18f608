"""REST calls end when their clients leave, as gRPC's do by themselves, and a body has a largest size."""

import asyncio
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 8 * 2**20  # what gRPC takes, too


class CallsEndWithClients:
    """ASGI middleware: a POST whose client has closed the connection is cancelled, which frees what it holds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and watch meanwhile for the client's leaving. 413 for a body that is too large."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        messages: asyncio.Queue[Message] = asyncio.Queue()
        started = ended = False

        async def note(message: Message) -> None:
            nonlocal started, ended
            started = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        working = asyncio.ensure_future(self._app(scope, messages.get, note))
        watching = asyncio.ensure_future(_pass_on(receive, messages))
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            # The server says "disconnect" after a whole answer too: then the call is about to end by itself.
            if working.done() or ended:
                await working
                return
            await _cancelled(working)
            if watching.result() and not started:
                body = {"error": f"request body: is too large, at most {MAX_BODY_BYTES} bytes"}
                await JSONResponse(body, status_code=413)(scope, receive, send)
        finally:
            await _cancelled(watching)
            await _cancelled(working)


async def _pass_on(receive: Receive, messages: "asyncio.Queue[Message]") -> bool:
    """Hand every message on until the client has left (False) or the body is too large (True)."""
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            return True
        messages.put_nowait(message)
        if message["type"] == "http.disconnect":
            return False


async def _cancelled(task: "asyncio.Future[Any]") -> None:
    """Cancel a task, unless it is done, and wait until it has ended."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
