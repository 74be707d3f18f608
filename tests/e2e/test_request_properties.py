"""Any input over the wire: the response is valid or names a field; it is never INTERNAL, never 500."""

import json
import math
import urllib.error
import urllib.request

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2, service_pb2_grpc

from serving.transformer.api.parse import input_types
from tests.serving.calls import HALVES, TEXTS, as_json, calls, pack
from tests.serving.transformer.api.test_wire import nested

PROPERTY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
USER = {"name": "user_id", "datatype": "INT64", "shape": [1, 1], "data": [10]}
CONTENTS = {
    "INT64": "int64_contents",
    "INT32": "int_contents",
    "UINT8": "uint_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BOOL": "bool_contents",
}


@pytest.fixture(scope="module")
def stub(small_stack):
    with grpc.insecure_channel(small_stack.grpc_url) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def message(tensors, raw):
    """A request as far as protobuf can encode it; what protobuf cannot encode is left out."""
    request = service_pb2.ModelInferRequest(model_name="recommender", id="property")
    for tensor in tensors:
        try:
            entry = service_pb2.ModelInferRequest.InferInputTensor(
                name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
            )
        except ValueError:  # a size beyond 64 bits
            continue
        if raw:
            content = tensor.raw if tensor.raw is not None else pack(tensor)
            request.raw_input_contents.append(content or b"")
        elif tensor.datatype == "BYTES":
            entry.contents.bytes_contents.extend(
                element.encode(errors="surrogatepass") for element in tensor.data or () if isinstance(element, str)
            )
        elif tensor.datatype in CONTENTS:
            field = getattr(entry.contents, CONTENTS[tensor.datatype])
            for element in tensor.data or ():
                try:
                    field.append(element)
                except (TypeError, ValueError, OverflowError):
                    continue
        request.inputs.append(entry)
    return request


@PROPERTY
@given(data=st.data())
def test_over_grpc(stub, small_scenario, data):
    raw = data.draw(st.booleans())
    request = message(data.draw(calls(small_scenario, raw=raw)), raw)
    if raw and data.draw(st.integers(0, 9)) == 0:
        request.raw_input_contents.append(b"one more")
    try:
        answer = stub.ModelInfer(request, timeout=10)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, (error.code(), error.details())
        assert error.details()
        return
    assert len(answer.raw_output_contents) in (0, len(answer.outputs))
    assert {output.shape[0] for output in answer.outputs} == {
        next(t for t in request.inputs if t.name == "user_id").shape[0]
    }


def post(stack, body, headers=None):
    request = urllib.request.Request(
        f"{stack.rest_url}/v2/models/recommender/infer", body, {"content-type": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def check_rest(stack, body):
    # NaN and infinities are no JSON, but Python writes and reads them: they may come.
    status, answer = post(stack, json.dumps(body).encode())
    assert status in (200, 400), (status, answer)
    if status == 400:
        assert answer["error"]
    else:
        assert {output["shape"][0] for output in answer["outputs"]} == {
            next(tensor for tensor in body["inputs"] if tensor["name"] == "user_id")["shape"][0]
        }


@PROPERTY
@given(data=st.data())
def test_over_rest(small_stack, small_scenario, data):
    body = {"inputs": [as_json(tensor) for tensor in data.draw(calls(small_scenario))]}
    if data.draw(st.integers(0, 3)) == 0:
        names = st.one_of(
            st.sampled_from(["item_ids", "scene_scores", "slate_ids", "cold_start"]), st.text(max_size=5), HALVES
        )
        body["outputs"] = [{"name": name} for name in data.draw(st.lists(names, max_size=3))]
    if data.draw(st.integers(0, 3)) == 0:
        body["id"] = data.draw(TEXTS)
    if data.draw(st.integers(0, 3)) == 0:
        values = st.one_of(TEXTS, st.booleans(), st.integers(), st.floats())
        body["parameters"] = data.draw(st.dictionaries(TEXTS, values, max_size=2))
    check_rest(small_stack, body)


@pytest.mark.parametrize("field", ["query", "tasks", "filters", "task_weights"])
def test_half_a_character_is_refused_with_the_field(small_stack, small_scenario, field):
    """Case 30: the query ends in half of an emoji."""
    shape = [1] if input_types(small_scenario)[field][1] == [-1] else [1, 1]
    half = {"name": field, "datatype": "BYTES", "shape": shape, "data": ["film \ud83d"]}
    status, answer = post(small_stack, json.dumps({"inputs": [USER, half]}).encode())
    assert status == 400
    assert answer["error"].startswith(f"{field}: is not UTF-8: U+D83D at character 5")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": [USER, {**USER, "name": "a\ud800"}]}, "a\\ud800"),
        ({"inputs": [USER, {**USER, "name": "k", "datatype": "\ud800"}]}, "k"),
        ({"inputs": [USER], "outputs": [{"name": "a\ud800"}]}, "a\\ud800"),
        ({"inputs": [USER], "id": "a\ud800"}, "id"),
        ({"inputs": [{**USER, "data": [nested(500)]}]}, "user_id"),
        ({"inputs": [{**USER, "data": [math.nan]}]}, "user_id"),
        ({"inputs": [{**USER, "data": [2**63]}]}, "user_id"),
        ({"inputs": [{**USER, "data": [True]}]}, "user_id"),
        ({"inputs": [{**USER, "data": [1.0]}]}, "user_id"),
        ({"inputs": [USER, {**USER, "name": "timestamp", "data": [253_402_300_799]}]}, "timestamp"),
    ],
)
def test_a_name_or_number_that_cannot_be_is_refused_with_the_field(small_stack, body, field):
    status, answer = post(small_stack, json.dumps(body).encode())
    assert (status, answer["error"].partition(":")[0]) == (400, field), answer


def test_half_a_character_in_what_is_not_read_harms_nothing(small_stack):
    body = {"inputs": [{**USER, "parameters": {"a": "\ud800", "\ud800": 1}}], "parameters": {"\ud800": "a\ud800"}}
    assert post(small_stack, json.dumps(body).encode())[0] in (200, 400)


def binary(tensors):
    """The tensors as REST has them with raw bytes, where they have any: the JSON, and the bytes that follow it."""
    entries, raws = [], []
    for tensor in tensors:
        raw = tensor.raw if tensor.raw is not None else pack(tensor)
        entry = as_json(tensor)
        if raw is not None:
            del entry["data"]
            entry["parameters"] = {"binary_data_size": len(raw)}
            raws.append(raw)
        entries.append(entry)
    return entries, b"".join(raws)


@PROPERTY
@given(data=st.data())
def test_over_rest_with_raw_bytes(small_stack, small_scenario, data):
    entries, raw = binary(data.draw(calls(small_scenario, raw=True)))
    head = json.dumps({"inputs": entries, "outputs": [{"name": "scene_scores"}]}).encode()
    raw = raw[: data.draw(st.sampled_from([len(raw), len(raw), len(raw) // 2]))]
    length = data.draw(st.sampled_from([len(head), len(head), len(head), len(head) + 1, len(head) // 2, -1]))
    status, answer = post(small_stack, head + raw, {"inference-header-content-length": str(length)})
    assert status in (200, 400), (status, answer)
    if status == 400:
        assert answer["error"]
    else:
        user = next(tensor for tensor in entries if tensor["name"] == "user_id")
        assert answer["outputs"][0]["shape"][0] == user["shape"][0]


@PROPERTY
@given(data=st.data())
def test_any_json_for_a_tensor_with_raw_bytes(small_stack, small_scenario, data):
    right = {"name": "user_id", "datatype": "INT64", "shape": [1, 1], "parameters": {"binary_data_size": 8}}
    field = data.draw(st.sampled_from(["name", "datatype", "shape", "data", "parameters", "more"]))
    name = data.draw(st.sampled_from(sorted(input_types(small_scenario))))
    broken = {**right, "name": name, field: data.draw(ANY_JSON)}
    head = json.dumps({"inputs": [right, broken]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    status, answer = post(small_stack, head + (10).to_bytes(8, "little") * 2, headers)
    assert status in (200, 400), (status, answer)


ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8)),
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(st.text(max_size=8), part, max_size=3)),
    max_leaves=8,
)


@PROPERTY
@given(data=st.data())
def test_any_json_for_a_tensor(small_stack, small_scenario, data):
    right = {"name": "user_id", "datatype": "INT64", "shape": [1, 1], "data": [10]}
    field = data.draw(st.sampled_from(["name", "datatype", "shape", "data", "parameters", "more"]))
    name = data.draw(st.sampled_from(sorted(input_types(small_scenario))))
    broken = {**right, "name": name, field: data.draw(ANY_JSON)}
    status, answer = post(small_stack, json.dumps({"inputs": [right, broken]}).encode())
    assert status in (200, 400), (status, answer)


@PROPERTY
@given(body=st.one_of(st.binary(max_size=40), ANY_JSON.map(lambda value: json.dumps(value).encode())))
def test_any_body(small_stack, body):
    status, answer = post(small_stack, body)
    assert status == 400, (status, answer)
    assert answer["error"]
