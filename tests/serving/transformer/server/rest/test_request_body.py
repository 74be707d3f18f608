"""Bodies of made-up clients: too large, too slow, compressed, too many at once, or of a call that finds no place."""

import asyncio
import gzip
import json
from dataclasses import replace
from typing import Any

import pytest
from starlette.responses import JSONResponse

from serving.transformer.concurrency.admission import DRAINING, Admission
from serving.transformer.server.limits import Limits
from serving.transformer.server.rest.request_body import RequestBodies

LIMITS = Limits(body_bytes=1000, bodies_bytes=1500, body_seconds=5.0)


class Client:
    """Sends `chunks`, then nothing. `sent` is the response of the server, `read` how many chunks it took."""

    def __init__(self, *chunks: bytes, complete: bool = True, leaves: bool = False):
        self.chunks, self.complete, self.leaves = list(chunks), complete, leaves
        self.read, self.sent = 0, []

    async def receive(self):
        if self.read < len(self.chunks):
            self.read += 1
            more = not self.complete or self.read < len(self.chunks)
            return {"type": "http.request", "body": self.chunks[self.read - 1], "more_body": more}
        if self.leaves:
            return {"type": "http.disconnect"}
        return await asyncio.get_running_loop().create_future()

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def error(self) -> str:
        return json.loads(self.sent[1]["body"])["error"]


def scope(method: str = "POST", path: str = "/v2/models/m/infer", **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": named}


class Application:
    """Takes one message; holds the request until `go` is set."""

    def __init__(self, go: bool = True):
        self.bodies, self.scopes, self.go = [], [], asyncio.Event()
        if go:
            self.go.set()

    async def __call__(self, scope, receive, send):
        message = await receive()
        assert message["more_body"] is False
        self.bodies.append(message["body"])
        self.scopes.append(scope)
        await self.go.wait()
        await JSONResponse({"error": ""})(scope, receive, send)


def call(client: Client, request: dict[str, Any], limits: Limits = LIMITS, refuse: Any = lambda headers: None):
    application = Application()
    asyncio.run(RequestBodies(application, limits, refuse, Admission(1, 0))(request, client.receive, client.send))
    return application


def test_a_body_is_one_message_whatever_its_chunks():
    client = Client(b"ab", b"", b"c")
    assert call(client, scope(content_length="3")).bodies == [b"abc"]
    assert client.status == 200


def test_a_compressed_body_passes_decompressed_and_without_its_header():
    content = gzip.compress(b"a" * 900)
    client = Client(content[:5], content[5:])
    application = call(client, scope(content_encoding="gzip", host="a"))
    assert application.bodies == [b"a" * 900]
    assert application.scopes[0]["headers"] == [(b"host", b"a")]


@pytest.mark.parametrize(
    ("client", "headers", "read"),
    [
        (Client(b"a" * 600, b"a" * 600, b"a" * 600), {}, 2),
        (Client(b"a" * 600), {"content_length": "1001"}, 0),
        (Client(b"a" * 600), {"content_length": "9" * 4000}, 0),
        (Client(gzip.compress(b"a" * 10**7)[:900], b"never read"), {"content_encoding": "gzip"}, 1),
    ],
    ids=["counted", "declared", "declared absurdly", "decompressed"],
)
def test_a_body_above_the_limit_is_refused_before_all_of_it_is_read(client: Client, headers: dict[str, str], read: int):
    assert call(client, scope(**headers)).bodies == []
    assert (client.status, client.read) == (413, read)
    assert client.error == "request body: is too large, allowed: at most 1000 bytes"


def test_a_body_that_stops_arriving_is_refused():
    client = Client(b"a", complete=False)
    assert call(client, scope(), replace(LIMITS, body_seconds=0.05)).bodies == []
    assert (client.status, client.error) == (408, "request body: is not complete, allowed: within 0.05 s")


def test_a_client_that_leaves_before_its_body_is_complete_gets_no_answer():
    client = Client(b"a", complete=False, leaves=True)
    assert call(client, scope()).bodies == []
    assert client.sent == []


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/models/m/versions/1/infer", "/v1/models/m:explain"])
def test_the_body_of_a_call_without_a_place_is_not_read(path: str):
    client = Client(b"a")
    assert call(client, scope(path=path), refuse=lambda headers: JSONResponse({"error": "full"}, 429)).bodies == []
    assert (client.status, client.read) == (429, 0)


def test_requests_without_a_body_pass_even_when_the_server_is_full():
    client = Client(b"")
    refuse = lambda headers: JSONResponse({"error": "full"}, 429)  # noqa: E731
    assert call(client, scope("GET", "/v2/health/ready"), refuse=refuse).bodies == [b""]
    assert client.status == 200


def test_all_bodies_together_have_a_budget_which_ends_with_their_requests():
    async def run():
        application = Application(go=False)
        bodies = RequestBodies(application, LIMITS, lambda headers: None, Admission(1, 0))
        first, second, third = Client(b"a" * 900), Client(b"a" * 900), Client(b"a" * 900)
        holding = asyncio.create_task(bodies(scope(), first.receive, first.send))
        await asyncio.sleep(0)
        await bodies(scope(), second.receive, second.send)
        assert (second.status, second.error) == (
            429,
            "request body: the bodies in flight take 1500 bytes, which is the limit",
        )
        application.go.set()
        await holding
        await bodies(scope(), third.receive, third.send)
        assert (first.status, third.status) == (200, 200)

    asyncio.run(run())


def test_a_body_that_is_not_complete_ends_when_the_server_drains():
    async def run() -> None:
        admission = Admission(1, 0)
        bodies = RequestBodies(Application(), replace(LIMITS, body_seconds=3600.0), lambda headers: None, admission)
        client = Client(b"ab", complete=False)
        async with asyncio.timeout(30):
            calling = asyncio.create_task(bodies(scope(), client.receive, client.send))
            while client.read == 0:
                await asyncio.sleep(0)
            await admission.drain(0)
            await calling
        assert client.status == 503
        assert client.error == DRAINING

    asyncio.run(run())
