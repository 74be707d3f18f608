"""The Open Inference Protocol for clients, proxies and probes: versions, health, reflection."""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from tritonclient.grpc import service_pb2, service_pb2_grpc

from serving.local.stack import LocalStack
from tests.serving.bundle import VERSION

SERVED = str(VERSION)
REFUSED = f"model recommender: version '1' is not served, allowed: {SERVED}"
BODY = json.dumps({"inputs": [{"name": "user_id", "datatype": "INT64", "shape": [1, 1], "data": [10]}]}).encode()


@pytest.fixture
def channel(small_stack: LocalStack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(small_stack.grpc_url) as channel:
        yield channel


def rest(stack: LocalStack, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(stack.rest_url).netloc, timeout=20)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def message(version: str) -> Any:
    request = service_pb2.ModelInferRequest(model_name="recommender", model_version=version)
    request.inputs.add(name="user_id", datatype="INT64", shape=[1, 1]).contents.int64_contents.append(10)
    return request


@pytest.mark.parametrize("place", ["", f"/versions/{SERVED}"])
def test_the_served_version_is_answered_over_rest(small_stack: LocalStack, place: str):
    path = f"/v2/models/recommender{place}"
    status, answer = rest(small_stack, "POST", f"{path}/infer", BODY)
    assert (status, answer["model_version"]) == (200, SERVED)
    assert rest(small_stack, "GET", f"{path}/ready") == (200, {"name": "recommender", "ready": True})
    status, answer = rest(small_stack, "GET", path)
    assert (status, answer["versions"]) == (200, [SERVED])
    assert "user_id" in [one["name"] for one in answer["inputs"]]
    assert "item_ids" in [one["name"] for one in answer["outputs"]]


def test_another_version_is_refused_over_rest(small_stack: LocalStack):
    path = "/v2/models/recommender/versions/1"
    for answer in (
        rest(small_stack, "POST", f"{path}/infer", BODY),
        rest(small_stack, "GET", f"{path}/ready"),
        rest(small_stack, "GET", path),
    ):
        assert answer == (404, {"error": REFUSED})
    status, answer = rest(small_stack, "POST", f"/v2/models/{'x' * 5000}/infer", BODY)
    assert status == 404
    assert len(answer["error"]) < 200


def test_versions_count_over_grpc(channel: grpc.Channel):
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    for version in ("", SERVED):
        assert stub.ModelInfer(message(version), timeout=10).model_version == SERVED
        assert stub.ModelReady(service_pb2.ModelReadyRequest(name="recommender", version=version), timeout=10).ready
        metadata = stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="recommender", version=version), timeout=10)
        assert list(metadata.versions) == [SERVED]
        assert "user_id" in [one.name for one in metadata.inputs]
    for call in (
        lambda: stub.ModelInfer(message("1"), timeout=10),
        lambda: stub.ModelReady(service_pb2.ModelReadyRequest(name="recommender", version="1"), timeout=10),
        lambda: stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="recommender", version="1"), timeout=10),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, REFUSED)


@pytest.mark.parametrize("service", ["", "recommender", "inference.GRPCInferenceService"])
def test_health_is_answered_by_the_standard_service(channel: grpc.Channel, service: str):
    stub = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status == serving
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert next(watch).status == serving
    watch.cancel()


def test_the_health_of_another_service_is_not_found(channel: grpc.Channel):
    stub = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="another"), timeout=10)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="another"), timeout=10)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


@pytest.mark.parametrize("package", ["v1", "v1alpha"])
def test_reflection_lists_and_describes_the_services(channel: grpc.Channel, package: str):
    call = channel.stream_stream(
        f"/grpc.reflection.{package}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    listed, described = call(
        iter(
            [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService"),
            ]
        ),
        timeout=10,
    )
    names = [service.name for service in listed.list_services_response.service]
    assert "inference.GRPCInferenceService" in names
    assert "grpc.health.v1.Health" in names
    assert described.file_descriptor_response.file_descriptor_proto
