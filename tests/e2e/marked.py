"""Calls that carry marked credentials, to every server, and what came back of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from tritonclient.grpc import service_pb2, service_pb2_grpc

MARK = "marked-5f2c81e0"
HEADERS = {
    "Authorization": f"Bearer {MARK}",
    "Proxy-Authorization": f"Basic {MARK}",
    "Cookie": f"session={MARK}",
    "X-Secret-Token": MARK,
    "X-Forwarded-For": MARK,
    "User-Agent": MARK,
}
# What makes KServe's SDK read and write a CloudEvent.
CLOUD_EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": MARK, "ce-type": "request", "ce-secret": MARK}
TOO_LARGE = 9 * 2**20
GRPC_LIMIT = [("grpc.max_send_message_length", -1)]


@dataclass(frozen=True)
class Sent:
    """A call and everything that its caller gets: status, headers or metadata, content."""

    call: str
    status: int | str
    received: str


def over_rest(url: str, path: str, body: bytes = b"{}", extra: Mapping[str, str] = {}, method: str = "POST") -> Sent:
    """Send one request; a connection that the server closes on a large body is a response without content."""
    headers = {**HEADERS, "content-type": "application/json", **extra}
    try:
        got = httpx.request(method, url + path, content=body or None, headers=headers, timeout=20)
    except httpx.HTTPError as error:
        return Sent(f"{method} {path}", 0, repr(error))
    return Sent(f"{method} {path}", got.status_code, f"{got.headers.multi_items()} {got.text}")


def rest_calls(url: str, path: str, valid: bytes) -> Iterator[Sent]:
    """Right and wrong calls of `path`, which takes `valid`, and of what else is on the port."""
    yield over_rest(url, path, valid)
    yield over_rest(url, path, valid, CLOUD_EVENT)
    yield over_rest(url, path, valid, {"content-type": "text/plain"})
    yield over_rest(url, path, valid, {"Inference-Header-Content-Length": "none"})
    yield over_rest(url, path, b"{")
    yield over_rest(url, path, b"\xff\xfe")
    yield over_rest(url, path, b'{"inputs": 3, "instances": 3}')
    yield over_rest(url, path, b"[" * 5000)
    yield over_rest(url, path, b"x" * TOO_LARGE)
    yield over_rest(url, path.replace("recommender", "other"), valid)
    yield over_rest(url, path, b"", method="GET")
    yield over_rest(url, path, b"", method="TRACE")
    yield over_rest(url, "/v2/models/recommender/versions/9/infer", valid)
    yield over_rest(url, "/v2/repository/models/other/load")
    yield over_rest(url, "/nowhere")
    for other in ("/", "/v2", "/v1/models", "/v2/models/recommender", "/v2/health/ready", "/metrics", "/docs"):
        yield over_rest(url, other, b"", method="GET")


def grpc_calls(address: str, valid: Any) -> Iterator[Sent]:
    """Right and wrong calls of all methods that the transformer and Triton share."""
    metadata = [(name.lower(), value) for name, value in HEADERS.items() if name != "User-Agent"]
    wrong = service_pb2.ModelInferRequest(model_name="recommender")
    wrong.inputs.add(name="user_id", datatype="FP32", shape=[1, 1])
    large = service_pb2.ModelInferRequest(model_name="recommender", id="x" * TOO_LARGE)
    other = service_pb2.ModelInferRequest(model_name="other")
    with grpc.insecure_channel(address, GRPC_LIMIT) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        calls = [
            *(("ModelInfer", request) for request in (valid, wrong, large, other)),
            ("ServerReady", service_pb2.ServerReadyRequest()),
            ("ServerMetadata", service_pb2.ServerMetadataRequest()),
            ("ModelMetadata", service_pb2.ModelMetadataRequest(name="other")),
            ("ModelReady", service_pb2.ModelReadyRequest(name="other")),
            ("RepositoryIndex", service_pb2.RepositoryIndexRequest()),
            ("RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest(model_name="other")),
            ("RepositoryModelUnload", service_pb2.RepositoryModelUnloadRequest(model_name="other")),
        ]
        for method, request in calls:
            try:
                response, call = getattr(stub, method).with_call(request, timeout=20, metadata=metadata)
                seen = (response, call.initial_metadata(), call.trailing_metadata(), call.details())
                yield Sent(method, "OK", repr(seen))
            except grpc.RpcError as error:
                got: Any = error
                seen = (got.initial_metadata(), got.trailing_metadata(), got.details(), got.debug_error_string())
                yield Sent(method, got.code().name, repr(seen))
