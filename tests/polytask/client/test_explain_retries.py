"""Retries of the explainer's client: after the delay that the server requests, and not after a deadline."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from polytask.client import ServiceUnavailable, explain

EXPLAINED = {
    "explanations": [
        {"user_id": 5, "tasks": {}, "cold_start": False, "truncated": False, "stale_features": False},
    ],
    "model_version": "3",
    "contract_checksum": "c" * 64,
}


class Explainer(HTTPServer):
    """Refuses with these statuses first, one per request, then explains."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refusals: list[int] = []
        self.headers: dict[str, str] = {}
        self.times: list[float] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Explainer

    def do_POST(self) -> None:
        self.server.times.append(time.monotonic())
        self.rfile.read(int(self.headers["content-length"]))
        refused = bool(self.server.refusals)
        self.send_response(self.server.refusals.pop(0) if refused else 200)
        content = json.dumps({"error": "overloaded"} if refused else EXPLAINED).encode()
        for name, value in {**(self.server.headers if refused else {}), "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Explainer]:
    with Explainer() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        made.shutdown()
        thread.join(5)


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_waits_for_as_long_as_the_server_asks(server: Explainer, status: int):
    server.refusals, server.headers = [status], {"retry-after": "1"}
    assert explain(server.url, 5).model_version == "3"
    first, second = server.times
    assert second - first >= 1.0


def test_a_deadline_that_passed_is_not_retried(server: Explainer):
    server.refusals = [504] * 3
    with pytest.raises(ServiceUnavailable, match="overloaded"):
        explain(server.url, 5)
    assert len(server.times) == 1


def test_calls_to_one_server_share_a_budget(server: Explainer):
    server.refusals = [503] * 1000
    for _ in range(10):
        with pytest.raises(ServiceUnavailable):
            explain(server.url, 5, attempts=3)
    assert 10 < len(server.times) <= 15
