"""REST connections within bounds: how many, how long a request may take to arrive, how slowly a client may read."""

import asyncio
import socket
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from serving.transformer.server.limits import Limits

PROBES = ("/v2/health/live", "/v2/health/ready")
MARGIN_SECONDS = 5.0  # the application returns 408 first
# A connection above the limit takes the place of one whose request has been arriving for longer than this.
SILENT_SECONDS = 1.0
HEADER_OVERHEAD = 4  # a colon, a space and the end of the line


def bounded_connections(limits: Limits) -> type[HttpToolsProtocol]:
    """Uvicorn's protocol with these limits, as its configuration takes one."""
    return type("BoundedConnection", (BoundedConnection,), {"limits": limits})


class BoundedConnection(HttpToolsProtocol):
    """One connection. uvicorn alone has a deadline only for the pause after a response.

    `header_seconds` bound a connection without a request and the headers of one, `body_seconds` its body, whether it is
    read or not, and `write_seconds` a response that the client does not read. A connection above `limits.connections`
    takes the place of the one that has kept the server waiting for its request the longest. Where there is none, the
    first few are served on the paths of probes alone, so that an overload of connections does not restart the pod;
    the others are closed.
    """

    limits: Limits

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._arriving: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        # Of one request: what is kept of its headers and trailers, and what has arrived since its last byte of body.
        self._header_bytes = 0
        self._unkept_bytes = 0
        self._working: RequestResponseCycle | None = None
        # Since when the server waits for a request to arrive; None while it has one, and after a response.
        self._waiting_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request, or close the connection where there are too many."""
        super().connection_made(transport)
        _bound_unread_data(transport, self.limits.write_seconds)
        extra = len(self.connections) - self.limits.connections
        if extra > 0 and self._take_place():
            extra -= 1
        if extra > self.limits.spare_connections:
            transport.abort()
        elif extra > 0:
            self.app = _Crowded(self.app, self.limits.connections)
        self._waiting_since = self.loop.time()
        self._await_bytes(self.limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadlines, and notify the request in flight, which need not be the last that arrived."""
        for timer in (self._arriving, self._writing):
            if timer is not None:
                timer.cancel()
        if self._working is not None and not self._working.response_complete:
            self._working.disconnected = True
            self._working.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes; 431 where a request has more bytes of headers or trailers than allowed.

        What the parser holds of a header that has no end yet, or skips as an extension of a chunk, is counted too.
        """
        self._unkept_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._arriving is not None and self._unkept_bytes > self.limits.header_bytes:
            self._header_bytes = max(self._header_bytes, self._unkept_bytes)
            self.send_400_response("")
        elif self._arriving is None and self.cycle is not None and self.cycle.response_complete:
            # Bytes between two requests, such as an empty line, end uvicorn's deadline for the pause.
            self._await_bytes(self.limits.header_seconds)

    def send_400_response(self, msg: str) -> None:
        """As uvicorn does, or 431 for headers that are too large."""
        if self._header_bytes <= self.limits.header_bytes:
            super().send_400_response(msg)
            return
        text = f'{{"error":"request headers: are too large, allowed: at most {self.limits.header_bytes} bytes"}}'
        head = f"content-type: application/json\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[431] + head.encode() + text.encode())
        self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins: its headers have a deadline."""
        super().on_message_begin()
        self._header_bytes = 0
        self._waiting_since = self._waiting_since or self.loop.time()
        self._await_bytes(self.limits.header_seconds)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header or a trailer. An error ends the parsing."""
        self._header_bytes += len(name) + len(value) + HEADER_OVERHEAD
        if self._header_bytes > self.limits.header_bytes:
            raise ValueError("too many bytes of headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The body has a deadline."""
        self._unkept_bytes = 0
        self._await_bytes(self.limits.body_seconds + MARGIN_SECONDS)
        super().on_headers_complete()
        if not self.pipeline:
            self._working = self.cycle

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._unkept_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has arrived: from now on the server's own deadlines count."""
        super().on_message_complete()
        self._header_bytes = self._unkept_bytes = 0
        self._waiting_since = None
        self._await_bytes(None)
        if self.cycle.response_complete:  # the rest of a body that was refused
            self._await_bytes(self.timeout_keep_alive)

    def on_response_complete(self) -> None:
        """The next of the requests that came together is worked on."""
        if self.pipeline:
            self._working = self.pipeline[-1][0]
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client reads more slowly than the server writes."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read on."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _take_place(self) -> bool:
        """Close the connection whose request has been arriving the longest, where that is long enough."""
        latest = self.loop.time() - SILENT_SECONDS
        waiting = ((one._waiting_since, one) for one in self.connections if isinstance(one, BoundedConnection))
        silent = [(since, one) for since, one in waiting if since is not None and since <= latest]
        if not silent:
            return False
        _, oldest = min(silent, key=lambda pair: pair[0])
        oldest.transport.abort()
        self.connections.discard(oldest)  # its own end comes in a later turn of the loop
        return True

    def _await_bytes(self, seconds: float | None) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None
        if seconds is not None:
            self._arriving = self.loop.call_later(seconds, self.transport.abort)


class _Crowded:
    """ASGI application of a connection above the limit: probes pass, the rest gets 503."""

    def __init__(self, app: Any, connections: int) -> None:
        self._app: ASGIApp = app
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        error = f"connections: {self._connections} are open, which is the limit"
        await JSONResponse({"error": error}, 503, headers={"connection": "close"})(scope, receive, send)


def _bound_unread_data(transport: asyncio.Transport, seconds: float) -> None:
    """Let the kernel close a connection whose last bytes are not read, after the server has closed it too."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT") and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))
