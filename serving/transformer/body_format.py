"""The body format of an inference request: the protocol's header defines it, not Content-Type."""

from starlette.types import ASGIApp, Receive, Scope, Send

JSON_LENGTH = "inference-header-content-length"
INFER = "/infer"


class BodyFormat:
    """ASGI middleware: sets the Content-Type of an inference request to the format that its body has.

    In the binary tensor extension `Inference-Header-Content-Length` is the size of the JSON before the raw bytes; a
    body without this header is JSON as a whole. Triton ignores Content-Type. FastAPI parses a body as JSON only if
    Content-Type names JSON, but `tritonclient.http` sends no Content-Type, its asyncio client sends
    `application/octet-stream` with every body, and curl sends `application/x-www-form-urlencoded` by default.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; the Content-Type of an inference request is replaced."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].endswith(INFER):
            headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
            binary = any(name == JSON_LENGTH.encode() for name, _ in headers)
            content_type = b"application/octet-stream" if binary else b"application/json"
            scope = {**scope, "headers": [*headers, (b"content-type", content_type)]}
        await self._app(scope, receive, send)
