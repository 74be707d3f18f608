"""What callers get over gRPC and REST while Triton hangs, is slow or is dead."""

import os
import re
import signal
import time
import urllib.request

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from polytask.client import RecommenderClient, ServiceUnavailable
from serving.local.stack import LocalStack
from tests.e2e.rest_calls import rest, user_input
from tests.e2e.test_stress import question


def assert_both_unavailable(stack: LocalStack, client: RecommenderClient, statuses: set[int]) -> None:
    """An error over both protocols within the transformer's deadline (and a margin for a busy machine)."""
    for seconds in (_seconds_until_unavailable(client), _seconds_until_refused(stack, statuses)):
        assert seconds < stack.deadline_seconds + 1.0
    end = time.monotonic() + 10
    while rest(stack, None, "/v2/health/ready")[0] != 503:
        assert time.monotonic() < end, "the transformer is still ready"
        time.sleep(0.1)


def _seconds_until_unavailable(client: RecommenderClient) -> float:
    start = time.monotonic()
    # A text that no cache holds, so that both models are called.
    with pytest.raises(ServiceUnavailable, match="predictor"):
        client.recommend(10, query=f"something new {start}")
    return time.monotonic() - start


def _seconds_until_refused(stack: LocalStack, statuses: set[int]) -> float:
    start = time.monotonic()
    status, body = rest(stack, {"inputs": [user_input(10)]})
    assert status in statuses
    assert "predictor" in body["error"]
    return time.monotonic() - start


def wait_until_ready(stack: LocalStack) -> None:
    deadline = time.monotonic() + 20
    while rest(stack, None, "/v2/health/ready")[0] != 200:
        assert time.monotonic() < deadline, "the transformer did not find the predictor again"
        time.sleep(0.1)


def test_a_predictor_that_hangs_is_unavailable_within_the_deadline(small_stack: LocalStack, client: RecommenderClient):
    process = small_stack.triton.process_id
    assert process is not None
    before = calls_by_code(small_stack)
    os.kill(process, signal.SIGSTOP)
    try:
        # Until a round of probes failed its calls wait for it, and then there is no pod to call.
        assert_both_unavailable(small_stack, client, {504, 503})
    finally:
        os.kill(process, signal.SIGCONT)
    wait_until_ready(small_stack)
    assert client.recommend(10).tasks
    after = calls_by_code(small_stack)
    assert after.get("DEADLINE_EXCEEDED", 0) - before.get("DEADLINE_EXCEEDED", 0) >= 1, "no call met the deadline"


def calls_by_code(stack: LocalStack) -> dict[str, float]:
    """`polytask_requests_total` by its label."""
    with urllib.request.urlopen(f"{stack.rest_url}/metrics", timeout=10) as response:
        text = response.read().decode()
    found = re.findall(r'^polytask_requests_total\{code="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {code: float(value) for code, value in found}


def test_a_slow_triton_turns_one_call_into_one_call(small_stack: LocalStack):
    """The deadline of the server is spent: another attempt would give a slow Triton the same work again."""
    process = small_stack.triton.process_id
    assert process is not None
    before = calls_by_code(small_stack)
    os.kill(process, signal.SIGSTOP)
    try:
        with (
            RecommenderClient(small_stack.grpc_url, deadline_seconds=10, attempts=3) as patient,
            pytest.raises(ServiceUnavailable, match="no response within the deadline of"),
        ):
            patient.recommend(10, query="slow once")
        with grpc.insecure_channel(small_stack.grpc_url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError) as hasty:
                stub.ModelInfer(question(10), timeout=0.2)
            assert hasty.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    finally:
        os.kill(process, signal.SIGCONT)
    wait_until_ready(small_stack)
    after = calls_by_code(small_stack)
    assert after["DEADLINE_EXCEEDED"] - before.get("DEADLINE_EXCEEDED", 0) == 1
    # Whichever of the two clocks is first: neither counts as an outage.
    theirs = ("CLIENT_DEADLINE_EXCEEDED", "CANCELLED")
    assert sum(after.get(code, 0) - before.get(code, 0) for code in theirs) == 1
    assert after.get("UNAVAILABLE", 0) == before.get("UNAVAILABLE", 0)


def test_a_dead_predictor_is_unavailable_and_one_that_returns_is_found(
    small_stack: LocalStack, client: RecommenderClient
):
    process = small_stack.triton.process_id
    assert process is not None
    os.killpg(process, signal.SIGKILL)
    try:
        assert_both_unavailable(small_stack, client, {503})
        with pytest.raises(Exception, match="Triton ended"):
            small_stack.check()
    finally:
        small_stack.triton.stop()
        small_stack.triton.start()
    wait_until_ready(small_stack)
    assert client.recommend(10).tasks
    small_stack.check()
