"""The Content-Type that FastAPI sees, by path, method and headers of the request."""

import asyncio

import pytest

from serving.transformer.body_format import BodyFormat

INFER = "/v2/models/recommender/infer"
LENGTH = (b"inference-header-content-length", b"40")
OCTETS, JSON = b"application/octet-stream", b"application/json"


def seen(path: str, headers: list[tuple[bytes, bytes]], method: str = "POST") -> list[tuple[bytes, bytes]]:
    """The headers that the application gets; those of the request stay as they are."""
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    before, passed = list(headers), []

    async def application(scope, receive, send):
        passed.extend(scope["headers"])

    async def nothing(*message):
        raise AssertionError("the middleware neither reads nor answers")

    asyncio.run(BodyFormat(application)(scope, nothing, nothing))
    assert scope["headers"] == before
    return passed


@pytest.mark.parametrize("sent", [None, b"", JSON, OCTETS, b"application/x-www-form-urlencoded", b"text/plain"])
def test_the_header_of_the_protocol_decides(sent):
    own = [] if sent is None else [(b"content-type", sent)]
    assert seen(INFER, [(b"host", b"a"), *own]) == [(b"host", b"a"), (b"content-type", JSON)]
    assert seen(INFER, [*own, LENGTH]) == [LENGTH, (b"content-type", OCTETS)]


def test_other_requests_pass_unchanged():
    sent = [(b"content-type", b"text/plain")]
    for path in ("/v1/models/recommender:explain", "/v2/repository/models/recommender/load"):
        assert seen(path, sent) == sent
    assert seen(INFER, sent, method="GET") == sent
    assert seen(INFER, [], method="GET") == []


def test_what_is_not_http_passes():
    passed = []

    async def application(scope, receive, send):
        passed.append(scope)

    asyncio.run(BodyFormat(application)({"type": "lifespan"}, None, None))
    assert passed == [{"type": "lifespan"}]
