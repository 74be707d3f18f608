"""The limits of one client over the wire: bytes of bodies and ids, counts of tensors and tasks, compressed or not."""

import contextlib
import gzip
import http.client
import json
import socket
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from polytask.scenario import Scenario
from serving.local.stack import LocalStack
from serving.transformer.server.limits import BODY_BYTES

PATH = "/v2/models/recommender/infer"
USER = {"name": "user_id", "datatype": "INT64", "shape": [1, 1], "data": [10]}
BODY = json.dumps({"inputs": [USER], "outputs": [{"name": "item_ids"}]}).encode()


@pytest.fixture
def stub(small_stack: LocalStack) -> Iterator[Any]:
    with grpc.insecure_channel(small_stack.grpc_url) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def post(stack: LocalStack, body: Any, headers: dict[str, str] | None = None, **options: Any) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(stack.rest_url).netloc, timeout=20)
    try:
        connection.request("POST", PATH, body, headers or {}, **options)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def message(**fields: Any) -> Any:
    request = service_pb2.ModelInferRequest(model_name="recommender", **fields)
    request.inputs.add(name="user_id", datatype="INT64", shape=[1, 1]).contents.int64_contents.append(10)
    request.outputs.add(name="item_ids")
    return request


def refusal(call: Any) -> tuple[Any, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def packed(coding: str, body: bytes) -> bytes:
    return gzip.compress(body) if "gzip" in coding.lower() else zlib.compress(body)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "GZip", "x-gzip", "identity, gzip"])
def test_a_compressed_body_is_answered_as_a_plain_one(small_stack: LocalStack, coding: str):
    status, answer = post(small_stack, packed(coding, BODY), {"Content-Encoding": coding})
    assert (status, answer.get("error")) == (200, None)
    assert answer["outputs"] == post(small_stack, BODY)[1]["outputs"]


def test_a_compressed_binary_body_is_answered(small_stack: LocalStack):
    binary = {"name": "user_id", "datatype": "INT64", "shape": [1, 1], "parameters": {"binary_data_size": 8}}
    head = json.dumps({"inputs": [binary], "outputs": [{"name": "item_ids"}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Encoding": "deflate"}
    status, answer = post(small_stack, zlib.compress(head + (10).to_bytes(8, "little")), headers)
    assert (status, answer.get("error")) == (200, None)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress"])
def test_another_encoding_is_refused_with_those_that_are_read(small_stack: LocalStack, coding: str):
    status, answer = post(small_stack, BODY, {"Content-Encoding": coding})
    assert status == 415
    assert answer["error"] == f"content-encoding: {coding!r}, allowed: one of gzip, deflate, identity"


@pytest.mark.parametrize(
    "body",
    [BODY, gzip.compress(BODY)[:-3], gzip.compress(BODY) + b"zz"],
    ids=["plain", "cut short", "followed by other bytes"],  # the bytes hold the time of their compression
)
def test_bytes_that_are_not_what_the_encoding_says_are_refused(small_stack: LocalStack, body: bytes):
    status, answer = post(small_stack, body, {"Content-Encoding": "gzip"})
    assert status == 400
    assert answer["error"].startswith("request body: ")


def test_a_body_above_the_limit_is_refused_however_it_comes(small_stack: LocalStack):
    limit = BODY_BYTES
    large = BODY + b" " * limit
    refused = (413, f"request body: is too large, allowed: at most {limit} bytes")
    for body, headers, options in (
        (large, {}, {}),
        (iter([BODY, *[b" " * 2**16] * (limit // 2**16 + 1)]), {"Transfer-Encoding": "chunked"}, {}),
        (gzip.compress(large), {"Content-Encoding": "gzip"}, {}),
        (gzip.compress(b" " * 2**28, 9), {"Content-Encoding": "gzip"}, {}),
    ):
        status, answer = post(small_stack, body, headers, encode_chunked="Transfer-Encoding" in headers, **options)
        assert (status, answer["error"]) == refused
    status, _ = post(small_stack, BODY + b" " * (limit - len(BODY)))
    assert status == 200


def test_a_declared_length_is_refused_before_a_byte_of_the_body_is_sent(small_stack: LocalStack):
    place = urlsplit(small_stack.rest_url)
    with socket.create_connection((place.hostname, place.port), 10) as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 999999999999\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_messages_above_the_limit_are_refused_compressed_or_not(stub: Any):
    request = message()
    request.inputs.add(name="query", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(b" " * BODY_BYTES)
    for compression in (None, grpc.Compression.Gzip, grpc.Compression.Deflate):
        code, _ = refusal(lambda how=compression: stub.ModelInfer(request, timeout=20, compression=how))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.ModelInfer(message(), timeout=20, compression=compression).outputs[0].name == "item_ids"


def full_inputs(scenario: Scenario, rows: int) -> list[dict[str, Any]]:
    """Every input as long as it may be, of characters with one byte."""
    features = scenario.features
    recent = min(features.history_length, features.exclude_length)
    items = {"recent_items": recent, "exclude_items": features.exclude_length - recent}
    if scenario.takes_disliked_items:
        items["disliked_items"] = features.disliked_length
    column = {"user_id": [2**62] * rows, "timestamp": [1_700_000_000] * rows, "k": [5] * rows}
    tensors = [{"name": n, "datatype": "INT64", "shape": [rows, 1], "data": data} for n, data in column.items()]
    tensors += [
        {"name": n, "datatype": "INT64", "shape": [rows, width], "data": [[2**62] * width] * rows}
        for n, width in items.items()
        if width
    ]
    tensors.append({"name": "query", "datatype": "BYTES", "shape": [rows, 1], "data": [["f" * 2000]] * rows})
    return tensors


def test_a_full_batch_with_every_input_full_fits(small_stack: LocalStack, small_scenario: Scenario):
    body = json.dumps({"inputs": full_inputs(small_scenario, 128), "outputs": [{"name": "cold_start"}]}).encode()
    assert len(body) < BODY_BYTES
    status, answer = post(small_stack, body)
    assert (status, answer.get("error")) == (200, None)


def test_a_hundred_thousand_task_names_are_refused_over_rest_and_grpc(small_stack: LocalStack, stub: Any):
    names = ["item"] * 100_000
    tasks = {"name": "tasks", "datatype": "BYTES", "shape": [len(names)], "data": names}
    status, answer = post(small_stack, json.dumps({"inputs": [USER, tasks]}, separators=(",", ":")).encode())
    assert (status, answer["error"].split(":")[0]) == (400, "request body")
    request = service_pb2.ModelInferRequest(model_name="recommender")
    request.inputs.add(name="user_id", datatype="INT64", shape=[1, 1]).contents.int64_contents.append(10)
    request.inputs.add(name="tasks", datatype="BYTES", shape=[len(names)]).contents.bytes_contents.extend(
        [b"item"] * len(names)
    )
    code, text = refusal(lambda: stub.ModelInfer(request, timeout=20))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("inputs: more than ")
    twice = {"name": "tasks", "datatype": "BYTES", "shape": [2], "data": ["item", "item"]}
    status, answer = post(small_stack, json.dumps({"inputs": [USER, twice]}).encode())
    assert (status, answer["error"]) == (400, "tasks: 'item' is given more than once, allowed: once")


@pytest.mark.parametrize("where", ["inputs", "outputs", "parameters", "id", "shape", "name", "model_name"])
def test_every_list_and_string_of_a_message_is_bounded(small_stack: LocalStack, stub: Any, where: str):
    many, long = 50_000, "x" * 300_000
    request, body = message(), json.loads(BODY)
    if where == "inputs":
        for _ in range(many):
            request.inputs.add()
        body["inputs"] = [1] * many
    elif where == "outputs":
        for _ in range(many):
            request.outputs.add(name="item_ids")
        body["outputs"] = [{"name": "item_ids"}] * 1000
    elif where == "parameters":
        for position in range(many):
            request.parameters[str(position)].int64_param = 1
        body["parameters"] = {str(position): [1] for position in range(1000)}
    elif where == "id":
        request.id = body["id"] = long
    elif where == "shape":
        request.inputs[0].shape.extend([2**60] * many)
        body["inputs"][0]["shape"] = [2**60] * 1000
    elif where == "name":
        request.inputs[0].name = body["inputs"][0]["name"] = long
    else:
        request.model_name = long
    code, text = refusal(lambda: stub.ModelInfer(request, timeout=20))
    expected = grpc.StatusCode.NOT_FOUND if where == "model_name" else grpc.StatusCode.INVALID_ARGUMENT
    assert code == expected
    assert len(text) <= 2100
    if where != "model_name":
        status, answer = post(small_stack, json.dumps(body).encode())
        assert status == 400
        assert len(answer["error"]) <= 2100


@pytest.mark.parametrize("shape", [[2**62, 2**62], [10**12, 1], [-1, 1], [0, 1]])
def test_a_shape_that_its_elements_do_not_have_is_refused(stub: Any, shape: list[int]):
    request = message()
    del request.inputs[0].shape[:]
    request.inputs[0].shape.extend(shape)
    code, text = refusal(lambda: stub.ModelInfer(request, timeout=20))
    assert (code, text.split(":")[0]) == (grpc.StatusCode.INVALID_ARGUMENT, "user_id")


def test_a_request_with_too_many_bytes_of_headers_is_refused(small_stack: LocalStack):
    place = urlsplit(small_stack.rest_url)
    with socket.create_connection((place.hostname, place.port), 10) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nhost: a\r\nx-long: {'a' * 60_000}".encode())
        for _ in range(64):
            try:
                connection.sendall(b"a" * 2**16)
            except OSError:
                break
        # The response is lost if bytes that nobody reads are still in transit.
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100).startswith(b"HTTP/1.1 431 ")
