"""A small HTTP server that speaks as much of S3 as an upload needs: objects, parts of objects, listings, refusals."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

XML = '<?xml version="1.0" encoding="UTF-8"?>'


class ObjectStore(ThreadingHTTPServer):
    """`objects` maps bucket/key to content. What a key of `damaged` ends with loses its first byte when written."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.written: list[str] = []
        self.damaged = ""
        self.refuses = False
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: ObjectStore

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()  # a client that does not hear it waits for a second before it sends
        return True

    def do_HEAD(self) -> None:
        self._handle()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _handle(self) -> None:
        address = urlsplit(self.path)
        key = unquote(address.path).strip("/")
        query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        body = self._body()
        store = self.server
        with store.lock:
            if store.refuses:
                return self._answer(403, f"{XML}<Error><Code>AccessDenied</Code><Message>no</Message></Error>".encode())
            if "list-type" in query:
                return self._list(key, query)
            if self.command == "POST" and "uploads" in query:
                store.parts[key] = {}
                made = f"<InitiateMultipartUploadResult><Key>{key}</Key><UploadId>1</UploadId>"
                return self._answer(200, f"{XML}{made}</InitiateMultipartUploadResult>".encode())
            if self.command == "POST":
                self._store(key, b"".join(content for _, content in sorted(store.parts.pop(key).items())))
                made = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
                return self._answer(200, f"{XML}{made}".encode())
            if self.command == "PUT" and "partNumber" in query:
                store.parts[key][int(query["partNumber"])] = body
                return self._answer(200, b"", etag=hashlib.md5(body).hexdigest())
            if self.command == "PUT":
                self._store(key, body)
                return self._answer(200, b"")
            if key not in store.objects:
                return self._answer(404, f"{XML}<Error><Code>NoSuchKey</Code></Error>".encode())
            return self._give(store.objects[key])

    def _store(self, key: str, content: bytes) -> None:
        damaged = bool(self.server.damaged) and key.endswith(self.server.damaged)
        self.server.objects[key] = content[1:] if damaged else content
        self.server.written.append(key)

    def _give(self, content: bytes) -> None:
        wanted = self.headers.get("Range", "")
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = content[int(first or 0) : int(last) + 1 if last else None]
        self._answer(206 if wanted else 200, part)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix = f"{bucket}/{query.get('prefix', '')}"
        keys = [key.removeprefix(f"{bucket}/") for key in self.server.objects if key.startswith(prefix)]
        entries = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
        made = f"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>{len(keys)}</KeyCount>{entries}"
        self._answer(200, f"{XML}{made}</ListBucketResult>".encode())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while length := int(self.rfile.readline().partition(b";")[0], 16):
                content += self.rfile.read(length)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers
        else:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" not in self.headers.get("Content-Encoding", "") and "x-amz-decoded-content-length" not in {
            name.lower() for name in self.headers
        }:
            return content
        plain = b""
        while content:
            size, _, content = content.partition(b"\r\n")
            length = int(size.partition(b";")[0], 16)
            if not length:
                break
            plain, content = plain + content[:length], content[length + 2 :]
        return plain

    def _answer(self, status: int, content: bytes, etag: str = "x") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/xml")
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Last-Modified", "Tue, 24 Nov 2026 12:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def storing(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """Object storage, and the variables that lead to it."""
    with ObjectStore() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        settings = {
            "AWS_ENDPOINT_URL": running.url,
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield running
        running.shutdown()
        thread.join(5)
