"""The outcome in words, and sent to where an address is given."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from polytask.jobs.notify import REPORT_URL, outcome_line, outcome_page, send_outcome


@pytest.mark.parametrize(
    ("state", "error", "line"),
    [
        ("SUCCEEDED", None, "train-and-deploy of movielens succeeded"),
        ("FAILED", "step gate failed", "train-and-deploy of movielens failed: step gate failed"),
        ("CANCELLED", "", "train-and-deploy of movielens was cancelled"),
        ("SKIPPED", None, "train-and-deploy of movielens ended as SKIPPED"),
    ],
)
def test_words(state: str, error: str | None, line: str) -> None:
    assert outcome_line("train-and-deploy", "movielens", state, error) == line
    assert outcome_page(line, "run-1") == f"**{line}**\n\nrun: `run-1`\n"


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.received.append(body)
            self.send_response(200 if self.path == "/hook" else 403)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.received = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join(timeout=10)
    server.server_close()


def test_it_is_sent_to_the_address_and_to_none_without(server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REPORT_URL, raising=False)
    assert send_outcome("a line") is None
    monkeypatch.setenv(REPORT_URL, f"http://127.0.0.1:{server.server_port}/hook")
    assert send_outcome("a line") == "the report was sent"
    assert server.received == [{"text": "a line"}]


def test_what_keeps_it_from_being_sent_is_told_without_the_address(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPORT_URL, f"http://127.0.0.1:{server.server_port}/key")
    assert send_outcome("a line") == "the report was not taken: 403"
    monkeypatch.setenv(REPORT_URL, "http://127.0.0.1:1/key")
    assert send_outcome("a line") == "the report was not sent: ConnectError"
    monkeypatch.setenv(REPORT_URL, "no address")
    assert send_outcome("a line") == "the report was not sent: UnsupportedProtocol"
