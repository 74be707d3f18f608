"""REST requests as `tritonclient.http`, its asyncio client and curl send them: JSON, binary, and both in one request.

`tritonclient.http` needs packages that the locked environment does not have. The bodies and headers below are those
that tritonclient 2.73.0 sent with geventhttpclient 2.6.1 and aiohttp 3.14.5, recorded byte by byte; only
User-Agent, Host, Accept and Content-Length are left out.
"""

import http.client
import json
import math
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from polytask.client import RecommenderClient
from serving.local.stack import LocalStack

QUERY = "ein gruseliges Märchen 幽霊 👻"

JSON_USER = rb'{"name":"user_id","shape":[1,1],"datatype":"INT64","data":[10]}'
JSON_QUERY = (
    rb'{"name":"query","shape":[1,1],"datatype":"BYTES",'
    rb'"data":["ein gruseliges M\u00E4rchen \u5E7D\u970A \uD83D\uDC7B"]}'
)
JSON_K = rb'{"name":"k","shape":[1],"datatype":"INT64","data":[3]}'
JSON_INPUTS = b'"inputs":[' + JSON_USER + b"," + JSON_QUERY + b"," + JSON_K + b"]"
BINARY_USER = b'{"name":"user_id","shape":[1,1],"datatype":"INT64","parameters":{"binary_data_size":8}}'
BINARY_QUERY = b'{"name":"query","shape":[1,1],"datatype":"BYTES","parameters":{"binary_data_size":39}}'
BINARY_K = b'{"name":"k","shape":[1],"datatype":"INT64","parameters":{"binary_data_size":8}}'
RAW_USER, RAW_K = (10).to_bytes(8, "little"), (3).to_bytes(8, "little")
RAW_QUERY = (35).to_bytes(4, "little") + QUERY.encode()


def outputs(item_ids: bool, item_titles: bool, scene_scores: bool) -> bytes:
    """The requested outputs as the client writes them, each with its `binary_data`."""
    wanted = {"item_ids": item_ids, "item_titles": item_titles, "scene_scores": scene_scores}
    entries = [f'{{"name":"{name}","parameters":{{"binary_data":{json.dumps(on)}}}}}' for name, on in wanted.items()]
    return f'"outputs":[{",".join(entries)}]'.encode()


BINARY_HEAD = (
    b'{"inputs":[' + b",".join([BINARY_USER, BINARY_QUERY, BINARY_K]) + b"]," + outputs(True, True, True) + b"}"
)
MIXED_HEAD = b'{"inputs":[' + b",".join([BINARY_USER, JSON_QUERY, BINARY_K]) + b"]," + outputs(True, False, True) + b"}"
AIOHTTP = {"Content-Type": "application/octet-stream", "Accept-Encoding": "gzip, deflate, br"}
RECORDED: dict[str, tuple[dict[str, str], bytes]] = {
    "JSON inputs and outputs": ({}, b"{" + JSON_INPUTS + b"," + outputs(False, False, False) + b"}"),
    "JSON inputs, binary outputs": ({}, b"{" + JSON_INPUTS + b"," + outputs(True, True, True) + b"}"),
    "JSON inputs, outputs of both kinds": ({}, b"{" + JSON_INPUTS + b"," + outputs(True, False, True) + b"}"),
    "JSON inputs, no outputs named": ({}, b"{" + JSON_INPUTS + b',"parameters":{"binary_data_output":true}}'),
    "JSON inputs, every parameter": (
        {},
        b'{"id":"mine",' + JSON_INPUTS + b"," + outputs(False, False, False) + b',"parameters":{"sequence_id":7,'
        b'"sequence_start":true,"sequence_end":false,"priority":1,"timeout":500000,"page":"home"}}',
    ),
    "binary inputs and outputs": (
        {"Inference-Header-Content-Length": "448"},
        BINARY_HEAD + RAW_USER + RAW_QUERY + RAW_K,
    ),
    "binary and JSON inputs": ({"Inference-Header-Content-Length": "477"}, MIXED_HEAD + RAW_USER + RAW_K),
    "asyncio, JSON": (AIOHTTP, b"{" + JSON_INPUTS + b"," + outputs(False, False, False) + b"}"),
    "asyncio, binary": (
        {"Inference-Header-Content-Length": "448", **AIOHTTP},
        BINARY_HEAD + RAW_USER + RAW_QUERY + RAW_K,
    ),
}


def infer(stack: LocalStack, headers: dict[str, str], body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One request with these headers alone: urllib would add a Content-Type."""
    connection = http.client.HTTPConnection(urlsplit(stack.rest_url).netloc, timeout=10)
    try:
        connection.request("POST", "/v2/models/recommender/infer", body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def tensors(headers: http.client.HTTPMessage, body: bytes) -> tuple[dict[str, Any], dict[str, bool]]:
    """The elements of each output, and whether it came as raw bytes."""
    offset = int(headers.get("inference-header-content-length", len(body)))
    values, binary = {}, {}
    for output in json.loads(body[:offset])["outputs"]:
        size = (output.get("parameters") or {}).get("binary_data_size")
        binary[output["name"]] = size is not None
        if size is None:
            values[output["name"]] = output["data"]
            continue
        raw, offset = body[offset : offset + size], offset + size
        values[output["name"]] = elements(output["datatype"], raw)
        assert len(values[output["name"]]) == math.prod(output["shape"])
    assert offset == len(body)
    return values, binary


def elements(datatype: str, raw: bytes) -> list[Any]:
    if datatype != "BYTES":
        return np.frombuffer(raw, {"INT64": "<i8", "FP32": "<f4", "BOOL": "?"}[datatype]).tolist()
    found = []
    while raw:
        end = 4 + int.from_bytes(raw[:4], "little")
        found.append(raw[4:end].decode())
        raw = raw[end:]
    return found


@pytest.mark.parametrize("mode", RECORDED)
def test_a_request_of_tritonclient_http_is_answered(small_stack: LocalStack, mode: str):
    with RecommenderClient(small_stack.grpc_url) as client:
        expected = client.recommend(10, query=QUERY, k=3).tasks
    request_headers, body = RECORDED[mode]
    status, headers, answer = infer(small_stack, request_headers, body)
    assert status == 200, answer
    values, binary = tensors(headers, answer)
    assert values["item_ids"] == [entry.id for entry in expected["item"]]
    assert values["item_titles"] == [entry.title for entry in expected["item"]]
    assert values["scene_scores"] == pytest.approx([entry.score for entry in expected["scene"]])
    if b'"outputs"' in body:
        wanted = json.loads(body[: int(request_headers.get("Inference-Header-Content-Length", len(body)))])["outputs"]
        assert binary == {output["name"]: output["parameters"]["binary_data"] for output in wanted}
    else:
        assert len(binary) > 3
        assert all(binary.values())
    if b'"id"' in body:
        assert json.loads(answer)["id"] == "mine"


def test_the_recorded_requests_are_consistent():
    for headers, body in RECORDED.values():
        length = int(headers.get("Inference-Header-Content-Length", len(body)))
        sizes = [
            tensor.get("parameters", {}).get("binary_data_size", 0) for tensor in json.loads(body[:length])["inputs"]
        ]
        assert length + sum(sizes) == len(body)


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
@pytest.mark.parametrize("data", [[10, 20], [[10], [20]]], ids=["flat", "nested"])
def test_json_is_read_whatever_its_content_type_says(small_stack: LocalStack, content_type: str, data: list[Any]):
    tensor = {"name": "user_id", "datatype": "INT64", "shape": [2, 1], "data": data}
    body = json.dumps({"inputs": [tensor], "outputs": [{"name": "user_ids"}]}).encode()
    status, headers, answer = infer(small_stack, {"Content-Type": content_type}, body)
    assert status == 200, answer
    with RecommenderClient(small_stack.grpc_url) as client:
        expected = [entry.id for user in (10, 20) for entry in client.recommend(user).tasks["user"]]
    assert tensors(headers, answer)[0] == {"user_ids": expected}


def test_binary_tensors_are_read_whatever_the_content_type_says(small_stack: LocalStack):
    headers, body = RECORDED["binary inputs and outputs"]
    status, _, answer = infer(small_stack, {**headers, "Content-Type": "application/json"}, body)
    assert status == 200, answer


@pytest.mark.parametrize(
    ("names", "body"),
    [
        ("user_id: datatype 'BYTES'", JSON_USER.replace(b"INT64", b"BYTES")),
        ("user_id: datatype 'FP16'", JSON_USER.replace(b"INT64", b"FP16")),
        ("user_id: inputs.0.shape.0", JSON_USER.replace(b"[1,1]", b'["one",1]')),
        ("user_id: inputs.0.data", b'{"name":"user_id","shape":[1,1],"datatype":"INT64"}'),
        ("inputs.0.name", b"{}"),
        ("weather: is not a known input", JSON_USER + b"," + JSON_K.replace(b'"k"', b'"weather"')),
        ("request body: is not JSON", b"{nothing"),
    ],
)
def test_a_malformed_body_without_a_content_type_names_its_field(small_stack: LocalStack, names: str, body: bytes):
    status, _, answer = infer(small_stack, {}, b'{"inputs":[' + body + b"]}")
    assert status == 400
    assert json.loads(answer)["error"].startswith(names)


def binary_body(tensors: list[dict[str, Any]], raw: bytes = b"") -> tuple[dict[str, str], bytes]:
    """Headers and body of a binary request."""
    head = json.dumps({"inputs": tensors}).encode()
    return {"Inference-Header-Content-Length": str(len(head))}, head + raw


def binary_tensor(name: str = "user_id", **changes: Any) -> dict[str, Any]:
    """A tensor of 8 raw bytes."""
    right = {"name": name, "datatype": "INT64", "shape": [1, 1], "parameters": {"binary_data_size": 8}}
    return {key: value for key, value in {**right, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("names", "tensors", "raw"),
    [
        ("query: is not UTF-8", [binary_tensor("query", datatype="BYTES")], b"\4\0\0\0\xff\xfe\xff\xfe"),
        ("query: an element reaches past the 8", [binary_tensor("query", datatype="BYTES")], b"\x09\0\0\0abcd"),
        ("k: datatype 'FP16'", [binary_tensor("k", datatype="FP16", shape=[1])], RAW_K),
        ("k: datatype 'LONG'", [binary_tensor("k", datatype="LONG", shape=[1])], RAW_K),
        ("recent_items: 1 elements, shape [1, 2]", [binary_tensor("recent_items", shape=[1, 2])], RAW_K),
        ("k: shape [2, 1]", [binary_tensor("k", shape=[2, 1])], RAW_K),
        ("k: shape [-1]", [binary_tensor("k", shape=[-1])], RAW_K),
        ("k: inputs.1.shape.0", [binary_tensor("k", shape=["one"])], RAW_K),
        ("k: inputs.1.shape: Field required", [binary_tensor("k", shape=None)], RAW_K),
        ("inputs.1.name: Field required", [binary_tensor(name=None)], RAW_K),
        ("inputs.1: ", [7], b""),
        ("k: inputs.1.data: Field required", [binary_tensor("k", parameters=None)], b""),
        ("k: inputs.1.parameters", [binary_tensor("k", parameters=[8])], RAW_K),
        ("k: binary_data_size '8'", [binary_tensor("k", parameters={"binary_data_size": "8"})], RAW_K),
        ("k: binary_data_size -8", [binary_tensor("k", parameters={"binary_data_size": -8})], RAW_K),
        ("k: binary_data_size 9", [binary_tensor("k", parameters={"binary_data_size": 9})], RAW_K),
    ],
)
def test_a_malformed_binary_body_names_its_field(small_stack: LocalStack, names: str, tensors: list[Any], raw: bytes):
    headers, body = binary_body([binary_tensor(), *tensors], RAW_USER + raw)
    status, _, answer = infer(small_stack, headers, body)
    assert (status, json.loads(answer)["error"][: len(names)]) == (400, names)


def test_bytes_after_the_last_tensor_are_refused(small_stack: LocalStack):
    headers, body = binary_body([binary_tensor()], RAW_USER + b"zzzz")
    status, _, answer = infer(small_stack, headers, body)
    assert (status, json.loads(answer)["error"]) == (400, "request body: 4 bytes follow the last input, allowed: none")


@pytest.mark.parametrize("length", ["-1", "5000", "many", "", "9" * 5000, "1_0"])
def test_a_wrong_length_of_the_json_is_named(small_stack: LocalStack, length: str):
    _, body = binary_body([binary_tensor()], RAW_USER)
    status, _, answer = infer(small_stack, {"Inference-Header-Content-Length": length}, body)
    assert status == 400
    assert json.loads(answer)["error"].startswith(f"inference-header-content-length: {length[:20]!r}")


@pytest.mark.parametrize(
    ("names", "head"),
    [
        ("request body: is not JSON", b"{nothing"),
        ("request body: is not JSON", b"\xff\xfe"),
        ("request body: ", b"[1]"),
        ("inputs: Field required", b"{}"),
        ("inputs: ", b'{"inputs":{}}'),
        ("outputs.0.name: ", b'{"inputs":[],"outputs":[{}]}'),
        ("parameters", b'{"inputs":[],"parameters":[]}'),
        ("id: ", b'{"inputs":[],"id":7}'),
        ("user_id: is missing", b'{"inputs":[]}'),
    ],
)
def test_malformed_json_of_a_binary_body_names_its_field(small_stack: LocalStack, names: str, head: bytes):
    status, _, answer = infer(small_stack, {"Inference-Header-Content-Length": str(len(head))}, head + RAW_USER)
    assert (status, json.loads(answer)["error"][: len(names)]) == (400, names)
