"""REST bodies are read here, before anything parses them: within bytes, seconds, and a budget for all of them."""

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.transformer.concurrency.admission import DRAINING, RETRY_AFTER_SECONDS, Admission
from serving.transformer.server.limits import Limits
from serving.transformer.server.rest.content_encoding import (
    BadlyCompressed,
    BodyDecoder,
    TooLarge,
    UnknownEncoding,
    coding_of,
)

CALLS = ("/infer", ":explain", ":predict")
DIGITS = 18  # no body is as long as a number with more


class RefusedBody(Exception):
    """A body that is not read to its end. uvicorn discards the rest: a client that still sends gets the response."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ClientLeft(Exception):
    """The client closed the connection before its body was complete."""


class RequestBodies:
    """ASGI middleware: hands the whole body of a request on as one message, decompressed.

    `refuse` gets the headers of a call and returns the response of one that would find no place: its body is not read.
    413 for a body that is larger than the limit, 408 for one that takes longer, 415 for an
    encoding that is not read, 400 for one that is wrong, 429 when the bodies of all clients fill their budget, 503 for
    one that is not complete when `admission` begins to drain.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, refuse: Callable[[Headers], Response | None], admission: Admission
    ) -> None:
        self._app = app
        self._limits = limits
        self._refuse = refuse
        self._held = 0
        self._admission = admission
        self._arriving: set[asyncio.Timeout] = set()
        admission.at_drain(self._end_arriving)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body, or respond here."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        held: list[bytes] = []
        try:
            try:
                decoder = self._decoder(headers)
                refusal = self._refuse(headers) if scope["path"].endswith(CALLS) else None
                if refusal is not None:
                    await refusal(scope, receive, send)
                    return
                await self._read(decoder, receive, held)
            except RefusedBody as error:
                retry = {"retry-after": str(RETRY_AFTER_SECONDS)} if error.status == 429 else None
                await JSONResponse({"error": str(error)}, error.status, headers=retry)(scope, receive, send)
                return
            except ClientLeft:
                return
            whole: Message | None = {"type": "http.request", "body": b"".join(held), "more_body": False}

            async def next_message() -> Message:
                nonlocal whole
                if whole is None:
                    return await receive()
                message, whole = whole, None
                return message

            await self._app(_plain(scope), next_message, send)
        finally:
            self._held -= sum(map(len, held))

    def _decoder(self, headers: Headers) -> BodyDecoder:
        """Checks the headers that describe the body."""
        limit = self._limits.body_bytes
        length = headers.get("content-length", "0")
        if not length.isdigit() or len(length) > DIGITS or int(length) > limit:
            raise self._too_large()
        try:
            return BodyDecoder(coding_of(headers.getlist("content-encoding")), limit)
        except UnknownEncoding as error:
            raise RefusedBody(415, str(error)) from error

    async def _read(self, decoder: BodyDecoder, receive: Receive, held: list[bytes]) -> None:
        """Append the chunks of a body to `held`, which the budget counts."""
        try:
            async with asyncio.timeout(self._limits.body_seconds) as arriving:
                self._arriving.add(arriving)
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientLeft
                    more = message.get("more_body", False)
                    self._hold(held, decoder.feed(message.get("body", b"")))
            decoder.end()
        except TooLarge as error:
            raise self._too_large() from error
        except TimeoutError as error:
            if self._admission.draining:
                raise RefusedBody(503, DRAINING) from error
            allowed = f"{self._limits.body_seconds:g} s"
            raise RefusedBody(408, f"request body: is not complete, allowed: within {allowed}") from error
        except BadlyCompressed as error:
            raise RefusedBody(400, str(error)) from error
        finally:
            self._arriving.discard(arriving)

    def _end_arriving(self) -> None:
        """The calls of these bodies would find no place; uvicorn would return 500 for them in the end."""
        now = asyncio.get_running_loop().time()
        for arriving in self._arriving:
            if not arriving.expired():
                arriving.reschedule(now)

    def _too_large(self) -> RefusedBody:
        return RefusedBody(413, f"request body: is too large, allowed: at most {self._limits.body_bytes} bytes")

    def _hold(self, held: list[bytes], chunk: bytes) -> None:
        if not chunk:
            return
        if self._held + len(chunk) > self._limits.bodies_bytes:
            most = self._limits.bodies_bytes
            raise RefusedBody(429, f"request body: the bodies in flight take {most} bytes, which is the limit")
        held.append(chunk)
        self._held += len(chunk)


def _plain(scope: Scope) -> Scope:
    """The scope of a body that is no longer compressed."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-encoding"]
    return scope if len(headers) == len(scope["headers"]) else {**scope, "headers": headers}
