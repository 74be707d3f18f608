"""More calls than fit, callers that leave, and a shutdown under load: over the wire, both protocols."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from polytask.errors import ServingError
from serving.local.install import TritonInstallation
from serving.local.stack import LocalStack

IN_WORK, WAITING = 2, 3


@pytest.fixture(scope="module")
def stack(
    small_bundle: Path, small_store: Path, triton_installation: TritonInstallation, tmp_path_factory
) -> Iterator[LocalStack]:
    """A stack that works on two calls at once and lets three more wait, each for up to eight seconds."""
    with LocalStack(
        small_bundle,
        small_store,
        installation=triton_installation,
        logs=tmp_path_factory.mktemp("logs"),
        deadline_seconds=8.0,
        max_concurrency=IN_WORK,
        max_queue=WAITING,
    ) as stack:
        yield stack


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


@contextmanager
def held(stack: LocalStack) -> Iterator[None]:
    """Pause Triton's process: a call that needs it stays in flight."""
    os.killpg(stack.triton.process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(stack.triton.process_id, signal.SIGCONT)


def question(user: int) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="recommender")
    request.inputs.add(name="user_id", datatype="INT64", shape=[1, 1]).contents.int64_contents.append(user)
    return request


def over_grpc(stack: LocalStack, user: int = 10, timeout: float = 20.0) -> str:
    """The name of the status."""
    with grpc.insecure_channel(stack.grpc_url) as channel:
        try:
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(question(user), timeout=timeout)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                requested = dict(error.trailing_metadata())
                assert (requested["retry-after"], requested["grpc-retry-pushback-ms"]) == ("1", "1000")
            return error.code().name
    return "OK"


def over_rest(stack: LocalStack, user: int = 10, timeout: float = 20.0) -> int:
    """The status; 0 where no connection is taken."""
    body = {"inputs": [{"name": "user_id", "datatype": "INT64", "shape": [1, 1], "data": [user]}]}
    request = urllib.request.Request(
        f"{stack.rest_url}/v2/models/recommender/infer", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status
    except urllib.error.HTTPError as error:
        if error.code == 429:
            assert int(error.headers["retry-after"]) >= 1
        return error.code
    except urllib.error.URLError:
        return 0


def ready(stack: LocalStack) -> tuple[int, str]:
    """Status and reason."""
    try:
        with urllib.request.urlopen(f"{stack.rest_url}/v2/health/ready", timeout=10) as response:
            return response.status, ""
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["error"]


def wait_for(holds, what: str, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def answered(calls: list[Future]) -> list:
    return [call.result(timeout=30) for call in calls]


def test_more_calls_than_fit_are_refused_and_the_others_answered(stack: LocalStack, pool: ThreadPoolExecutor):
    with held(stack):
        calls = [pool.submit(send_request, stack) for send_request in (over_grpc, over_rest) * 6]
        wait_for(lambda: sum(call.done() for call in calls) == 12 - IN_WORK - WAITING, "too few calls were refused")
    results = answered(calls)
    assert sum(result in ("OK", 200) for result in results) == IN_WORK + WAITING
    assert {result for result in results if result not in ("OK", 200)} <= {"RESOURCE_EXHAUSTED", 429}
    assert (over_grpc(stack), over_rest(stack)) == ("OK", 200)


@pytest.mark.parametrize("leave", ["over_grpc_and_cancel", "over_rest_and_hang_up"])
def test_callers_that_leave_free_their_places(stack: LocalStack, pool: ThreadPoolExecutor, leave: str):
    with held(stack):
        answered([pool.submit(globals()[leave], stack) for _ in range(IN_WORK + WAITING)])
        time.sleep(0.3)
        # All places would still be taken, for eight seconds.
        calls = [pool.submit(over_grpc, stack) for _ in range(IN_WORK + WAITING)]
        time.sleep(0.5)
        assert not any(call.done() for call in calls)
    assert answered(calls) == ["OK"] * (IN_WORK + WAITING)


def over_grpc_and_cancel(stack: LocalStack) -> None:
    with grpc.insecure_channel(stack.grpc_url) as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(question(10), timeout=20)
        time.sleep(0.5)
        assert not call.done()
        call.cancel()


def over_rest_and_hang_up(stack: LocalStack) -> None:
    with pytest.raises(TimeoutError):
        over_rest(stack, timeout=0.5)


def test_a_shutdown_ends_what_was_accepted_and_refuses_the_rest(
    small_bundle: Path,
    small_store: Path,
    triton_installation: TritonInstallation,
    tmp_path: Path,
    pool: ThreadPoolExecutor,
):
    with LocalStack(
        small_bundle,
        small_store,
        installation=triton_installation,
        logs=tmp_path,
        deadline_seconds=8.0,
        max_concurrency=4,
    ) as stack:
        process = stack.transformer_process_id
        assert process is not None
        with held(stack):
            accepted = [pool.submit(send_request, stack) for send_request in (over_grpc, over_rest) * 4]
            wait_for(lambda: calls_under_way(stack) == 8, "not all calls arrived")
            os.kill(process, signal.SIGTERM)
            wait_for(lambda: ready(stack)[0] == 503, "the transformer is still ready", seconds=2)
            assert ready(stack) == (503, "the transformer is shutting down")
            assert (over_grpc(stack), over_rest(stack)) == ("UNAVAILABLE", 503)
            assert not any(call.done() for call in accepted)
        assert answered(accepted) == ["OK", 200] * 4
        wait_for(lambda: has_ended(stack), "the transformer did not end")
        assert "did not end in time" not in stack.log_files[1].read_text()


def has_ended(stack: LocalStack) -> bool:
    try:
        stack.check()
    except ServingError as error:
        return "the transformer ended" in str(error)
    return False


def calls_under_way(stack: LocalStack) -> int:
    with urllib.request.urlopen(f"{stack.rest_url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    names = ("polytask_requests_in_flight ", "polytask_requests_queued ")
    return int(sum(float(line.split()[1]) for line in lines if line.startswith(names)))
