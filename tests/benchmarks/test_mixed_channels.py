"""The calls of a mixed load over REST: the same calls, and their ends under gRPC's names."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep

import numpy as np
import pytest

from benchmarks.calls import UserCall
from benchmarks.mixed_calls import malformed_messages
from benchmarks.mixed_channels import RestChannel, in_json, rest_body

MESSAGE = UserCall((7, 8), ("a scary ghost", ""), 5).message("recommender")
OUTPUTS = [
    {"name": "item_ids", "datatype": "INT64", "shape": [1, 2], "data": [3, 4]},
    {"name": "item_titles", "datatype": "BYTES", "shape": [1, 2], "data": ["Ärger", ""]},
]


class Server(ThreadingHTTPServer):
    status, after, content = 200, 0.0, json.dumps({"outputs": OUTPUTS})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        sleep(self.server.after)
        body = self.server.content.encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def channel(server: Server) -> Iterator[RestChannel]:
    channel = RestChannel(f"http://127.0.0.1:{server.server_port}")
    yield channel
    channel.close()


def test_a_body_says_what_the_message_says():
    inputs = {one["name"]: one for one in json.loads(rest_body(MESSAGE))["inputs"]}
    assert (inputs["user_id"]["data"], inputs["user_id"]["shape"]) == ([7, 8], [2, 1])
    assert inputs["query"]["data"] == ["a scary ghost", ""]
    assert (inputs["timestamp"]["data"], inputs["timestamp"]["datatype"]) == ([5, 5], "INT64")


def test_bytes_that_no_json_can_hold_are_left_to_grpc(small_scenario):
    sent = {name: [in_json(one) for one in those] for name, those in malformed_messages(small_scenario).items()}
    # Bytes that are no texts, or cut short, or not UTF-8; the others are wrong in JSON too.
    assert sent["user_id"] == [True, False, True, False, True]
    assert sent["query"] == [True, False, True]
    assert all(sent["k"] + sent["weather"] + sent["timestamp"])


def test_an_answer_has_the_tensors_that_grpc_gives(channel: RestChannel):
    code, text, tensors = channel.call(MESSAGE, 5)
    assert (code, text) == ("OK", "")
    np.testing.assert_array_equal(tensors["item_ids"], [[3, 4]])
    assert tensors["item_titles"].tolist() == [["Ärger".encode(), b""]]


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE"), (500, "HTTP 500")],
)
def test_a_refusal_has_grpcs_code_and_its_reason(server: Server, channel: RestChannel, status: int, code: str):
    server.status, server.content = status, json.dumps({"error": "k: 0, allowed: 1 to 50"})
    assert channel.call(MESSAGE, 5) == (code, "k: 0, allowed: 1 to 50", {})


def test_who_leaves_is_cancelled_and_may_call_again(server: Server, channel: RestChannel):
    server.after = 0.3
    assert channel.leave(MESSAGE, 0.01, 5)[0] == "CANCELLED"
    assert channel.call(MESSAGE, 0.05)[0] == "DEADLINE_EXCEEDED"
    server.after = 0
    assert channel.leave(MESSAGE, 5, 5)[0] == "OK"
    assert channel.call(MESSAGE, 5)[0] == "OK"


def test_nobody_there_is_unavailable(server: Server, channel: RestChannel):
    server.shutdown()
    server.server_close()
    assert channel.call(MESSAGE, 5)[0] == "UNAVAILABLE"
