"""The middleware with made-up servers and clients: a body that arrives, a client that leaves."""

import asyncio

import pytest

from serving.transformer.server.disconnects import CallsEndWithClients

POST = {"type": "http", "method": "POST", "headers": []}


class Connection:
    """The messages that the server has received, and those that the application has sent."""

    def __init__(self, *messages):
        self.messages, self.sent, self.gone = list(messages), [], asyncio.Event()

    async def receive(self):
        if self.messages:
            return self.messages.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.gone.set()  # as uvicorn does after a complete response


def body(content, more=False):
    return {"type": "http.request", "body": content, "more_body": more}


async def echo(scope, receive, send):
    content, more = b"", True
    while more:
        message = await receive()
        content, more = content + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": content})
    await asyncio.sleep(0.01)  # messages after the response are not cut short
    await send({"type": "after"})


def test_a_request_passes_whole():
    async def run():
        connection = Connection(body(b"ab", more=True), body(b"c"))
        await CallsEndWithClients(echo)(POST, connection.receive, connection.send)
        assert [message["type"] for message in connection.sent] == [
            "http.response.start",
            "http.response.body",
            "after",
        ]
        assert connection.sent[1]["body"] == b"abc"

    asyncio.run(run())


def test_a_client_that_leaves_cancels_the_work():
    async def run():
        ended = []

        async def work(scope, receive, send):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        connection = Connection(body(b"ab"))
        call = asyncio.create_task(CallsEndWithClients(work)(POST, connection.receive, connection.send))
        await asyncio.sleep(0.01)
        assert ended == []
        connection.gone.set()
        await asyncio.wait_for(call, 5)
        assert (ended, connection.sent) == (["cancelled"], [])

    asyncio.run(run())


def test_an_error_of_the_work_is_raised():
    async def run():
        async def work(scope, receive, send):
            raise ZeroDivisionError

        connection = Connection(body(b""))
        with pytest.raises(ZeroDivisionError):
            await CallsEndWithClients(work)(POST, connection.receive, connection.send)

    asyncio.run(run())
