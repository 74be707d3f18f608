"""Malformed calls over gRPC and REST: the error names the field."""

from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from polytask.client import RecommenderClient
from polytask.errors import RequestError
from serving.local.stack import LocalStack
from tests.e2e.rest_calls import filters_input, rest, user_input


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("user_id", {"user": "ten"}),
        ("k", {"user": 10, "k": 0}),
        ("slate", {"user": 10, "slate": 101}),
        ("task_weights", {"user": 10, "slate": 5, "task_weights": {"weather": 1}}),
        ("tasks", {"user": 10, "tasks": ["weather"]}),
        ("recent_items", {"user": 10, "recent_items": [7] * 11}),
        ("exclude_items", {"user": 10, "exclude_items": ["seven"]}),
        ("disliked_items", {"user": 10, "disliked_items": [7] * 17}),
        ("timestamp", {"user": 10, "timestamp": -5}),
        ("query", {"user": 10, "query": "a" * 5000}),
    ],
)
def test_a_malformed_grpc_call_names_its_field(client: RecommenderClient, field: str, arguments: dict[str, Any]):
    with pytest.raises(RequestError) as caught:
        client.recommend(**arguments)
    assert caught.value.field == field


def test_a_datatype_that_no_protocol_knows_names_its_field(small_stack: LocalStack):
    request = service_pb2.ModelInferRequest(model_name="recommender", raw_input_contents=[b"\x00" * 8])
    request.inputs.add(name="user_id", datatype="LONG", shape=[1, 1])
    with grpc.insecure_channel(small_stack.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="user_id: datatype 'LONG'") as caught:
            stub.ModelInfer(request, timeout=5)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("names", "body"),
    [
        ("user_id", {"inputs": [{"name": "k", "datatype": "INT64", "shape": [1], "data": [1]}]}),
        ("user_id", {"inputs": [user_input("10")]}),
        ("user_id", {"inputs": [user_input(1.5)]}),
        ("user_id", {"inputs": [user_input(10, "FLOAT")]}),
        ("user_id", {"inputs": [{**user_input(10), "shape": ["one", 1]}]}),
        ("user_id", {"inputs": [{**user_input(10), "shape": [2, 1]}]}),
        ("name", {"inputs": [{"datatype": "INT64", "shape": [1, 1], "data": [1]}]}),
        ("weather", {"inputs": [user_input(10)], "outputs": [{"name": "weather"}]}),
        ("filters: genres has no value 'Horor'", {"inputs": [user_input(10), filters_input("genres=Horor")]}),
        ("filters: shape [0]", {"inputs": [user_input(10), filters_input()]}),
        ("inputs", {"input": []}),
        ("request body: is not JSON", b"{nothing"),
        ("body", b"\x80"),
    ],
)
def test_a_malformed_rest_call_names_its_field(small_stack: LocalStack, names: str, body: Any):
    status, answer = rest(small_stack, body)
    assert status == 400
    assert names in answer["error"]
