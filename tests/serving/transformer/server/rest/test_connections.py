"""A server with short limits, and clients that connect and send nothing, drip, do not read, or come in crowds."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import uvicorn

from serving.transformer.server.limits import Limits
from serving.transformer.server.rest import connections
from serving.transformer.server.rest.connections import bounded_connections

LONG = 30.0
PATIENCE = 20.0  # of the tests: much longer than any limit that they set
LIMITS = Limits(body_bytes=10**6, header_seconds=LONG, body_seconds=LONG, write_seconds=LONG, header_bytes=4096)
GET = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


async def application(scope, receive, send):
    """Reads the body, and returns as many bytes, or waits as many seconds, as the path has."""
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        if message["type"] == "http.disconnect":
            return
    if scope["path"] == "/until-left":
        while (await receive())["type"] != "http.disconnect":
            pass
    if scope["path"].startswith("/after/"):
        await asyncio.sleep(float(scope["path"].removeprefix("/after/")))
    size = scope["path"].removeprefix("/bytes/")
    content = b"a" * (int(size) if size.isdigit() else 2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(content))]})
    for start in range(0, len(content), 2**16):
        more = start + 2**16 < len(content)
        await send({"type": "http.response.body", "body": content[start : start + 2**16], "more_body": more})


def served(limits: Limits, check: Callable[[uvicorn.Server, int], Awaitable[None]]) -> None:
    """Run a check against a server on a free port."""

    async def run() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            application, http=bounded_connections(limits), ws="none", lifespan="off", log_config=None
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(server.serve([listening]))
        try:
            await check(server, listening.getsockname()[1])
        finally:
            server.should_exit = server.force_exit = True
            await serving

    asyncio.run(asyncio.wait_for(run(), 3 * PATIENCE))


async def connected(port: int) -> tuple[Reader, Writer]:
    return await asyncio.open_connection("127.0.0.1", port)


async def ends(reader: Reader) -> bytes:
    """The bytes that the server still sends before it closes the connection."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionResetError:
        return b""


async def status(reader: Reader, writer: Writer, request: bytes = GET) -> int:
    writer.write(request)
    line = await asyncio.wait_for(reader.readline(), PATIENCE)
    return int(line.split()[1])


async def nobody_left(server: uvicorn.Server) -> None:
    async with asyncio.timeout(PATIENCE):
        while server.server_state.connections:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nx-a: b", b"\r\n", GET + b"\r\n"])
def test_a_connection_whose_request_does_not_arrive_is_closed(sent: bytes):
    async def check(server: uvicorn.Server, port: int) -> None:
        reader, writer = await connected(port)
        writer.write(sent)
        await ends(reader)

    served(replace(LIMITS, header_seconds=0.2), check)


def test_a_connection_whose_body_does_not_arrive_is_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "MARGIN_SECONDS", 0.1)

    async def check(server: uvicorn.Server, port: int) -> None:
        reader, writer = await connected(port)
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\nabc")
        assert await ends(reader) == b""
        await nobody_left(server)

    served(replace(LIMITS, body_seconds=0.1), check)


def test_a_client_that_does_not_read_its_response_loses_the_connection():
    async def check(server: uvicorn.Server, port: int) -> None:
        _, writer = await connected(port)
        writer.transport.pause_reading()
        writer.write(b"GET /bytes/100000000 HTTP/1.1\r\nhost: a\r\n\r\n")
        await nobody_left_after_start(server)

    async def nobody_left_after_start(server: uvicorn.Server) -> None:
        async with asyncio.timeout(PATIENCE):
            while not server.server_state.tasks:
                await asyncio.sleep(0.01)
        await nobody_left(server)

    served(replace(LIMITS, write_seconds=0.2), check)


def test_headers_have_a_size():
    async def check(server: uvicorn.Server, port: int) -> None:
        reader, writer = await connected(port)
        writer.write(b"GET / HTTP/1.1\r\nx-a: b")
        for _ in range(3):
            await asyncio.sleep(0.01)
            writer.write(b"b" * 1500)
        answer = await ends(reader)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"allowed: at most 4096 bytes" in answer

    served(LIMITS, check)


def test_of_too_many_connections_the_first_may_probe_and_the_others_are_closed():
    async def check(server: uvicorn.Server, port: int) -> None:
        usual = [await connected(port) for _ in range(2)]
        for reader, writer in usual:
            assert await status(reader, writer, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n") == 200
        prober = await connected(port)
        assert await status(*prober) == 200
        assert await ends((await connected(port))[0]) == b""
        prober[1].close()
        await asyncio.wait_for(prober[1].wait_closed(), PATIENCE)
        crowded = await connected(port)
        crowded[1].write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        answer = await ends(crowded[0])
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"connections: 2 are open, which is the limit" in answer

    served(replace(LIMITS, connections=2, spare_connections=1), check)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nab"],
    ids=["nothing", "headers", "body"],
)
def test_connections_whose_requests_do_not_arrive_make_room_for_others(sent: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.2)

    async def check(server: uvicorn.Server, port: int) -> None:
        usual = await connected(port)
        assert await status(*usual) == 200
        await usual[0].readuntil(b"\r\n\r\naa")
        silent = [await connected(port) for _ in range(3)]
        for _, writer in silent:
            writer.write(sent)
        await asyncio.sleep(0.5)
        later = []
        for _ in range(3):
            later.append(await connected(port))
            assert await status(*later[-1], b"GET / HTTP/1.1\r\nhost: a\r\n\r\n") == 200
        assert [await ends(reader) for reader, _ in silent] == [b"", b"", b""]
        assert await status(*usual) == 200  # an idle connection that has had a request keeps its place

    served(replace(LIMITS, connections=4, spare_connections=0), check)


def test_neither_a_long_response_nor_a_pause_after_it_ends_a_connection():
    async def check(server: uvicorn.Server, port: int) -> None:
        reader, writer = await connected(port)
        for _ in range(2):
            writer.write(b"GET /after/0.5 HTTP/1.1\r\nhost: a\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await asyncio.wait_for(reader.readexactly(2), PATIENCE) == b"aa"
            await asyncio.sleep(0.3)  # longer than headers may take

    served(replace(LIMITS, header_seconds=0.1, body_seconds=0.1), check)


def test_a_usual_client_keeps_its_connection():
    async def check(server: uvicorn.Server, port: int) -> None:
        reader, writer = await connected(port)
        for size in (5, 10**6):
            writer.write(b"POST /bytes/%d HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc" % size)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await asyncio.wait_for(reader.readexactly(size), PATIENCE) == b"a" * size

    served(LIMITS, check)


TRAILERS = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
EXTENSION = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;"


@pytest.mark.parametrize(
    ("head", "endless"),
    [
        (b"GET / HTTP/1.1\r\n", b"x-a: b\r\n"),
        (TRAILERS, b"x-a: b\r\n"),
        (TRAILERS + b"x-a: ", b"b"),
        (EXTENSION, b"b"),
    ],
    ids=["headers", "trailers", "a long trailer", "an extension of a chunk"],
)
def test_what_is_no_body_has_a_size(head: bytes, endless: bytes):
    async def check(server: uvicorn.Server, port: int) -> None:
        reader, writer = await connected(port)
        writer.write(head)
        ended, sent = asyncio.ensure_future(ends(reader)), 0
        while not ended.done():
            writer.write(endless * (1000 // len(endless)))
            sent += 1000
            await asyncio.sleep(0.01)
        assert sent < 100 * LIMITS.header_bytes
        writer.close()
        await nobody_left(server)

    served(LIMITS, check)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n", TRAILERS], ids=["headers", "trailers"])
def test_headers_and_trailers_have_a_size_in_one_piece_too(head: bytes):
    async def check(server: uvicorn.Server, port: int) -> None:
        request = head + b"x-a: b\r\n" * (LIMITS.header_bytes // 8 + 1) + b"\r\n"
        assert await status(*await connected(port), request) == 431

    served(LIMITS, check)


def test_a_body_in_many_chunks_and_with_trailers_is_taken():
    async def check(server: uvicorn.Server, port: int) -> None:
        chunks = b"1;a=b\r\nc\r\n" * 10_000
        request = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\nx-a: b\r\n\r\n"
        assert await status(*await connected(port), request) == 200

    served(LIMITS, check)


def test_the_first_of_two_requests_that_came_together_ends_with_its_client(caplog: pytest.LogCaptureFixture):
    async def check(server: uvicorn.Server, port: int) -> None:
        _, writer = await connected(port)
        writer.write(b"GET /until-left HTTP/1.1\r\nhost: a\r\n\r\n" + GET)
        async with asyncio.timeout(PATIENCE):
            while not server.server_state.tasks:
                await asyncio.sleep(0.01)
            writer.close()
            while server.server_state.tasks:
                await asyncio.sleep(0.01)
        await nobody_left(server)

    served(LIMITS, check)
    assert not [record for record in caplog.records if record.exc_info]
