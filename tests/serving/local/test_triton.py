"""A real Triton with tiny models: values, batching, refusals, start and stop."""

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from polytask.contract.contract import Contract
from polytask.errors import ServingError
from polytask.scenario import Scenario
from serving.local.install import TritonInstallation
from serving.local.triton import TritonServer
from serving.triton.repository import write_repository
from tests.serving.triton.tiny import VERSION, Arrays, tiny_contract, tiny_inputs, tiny_responses, write_models

TIMEOUT = 20.0
DTYPES = {np.dtype(np.int64): "INT64", np.dtype(np.float32): "FP32", np.dtype(np.bool_): "BOOL"}


@pytest.fixture(scope="module")
def contract(small_scenario: Scenario) -> Contract:
    return tiny_contract(small_scenario)


@pytest.fixture(scope="module")
def repository(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    write_models(contract, folder)
    write_repository(contract, folder)
    return folder


@pytest.fixture(scope="module")
def server(
    repository: Path, triton_installation: TritonInstallation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    with TritonServer(repository, triton_installation, tmp_path_factory.mktemp("log") / "triton.log") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc_address) as connected:
        yield connected


def infer(
    client: triton.InferenceServerClient, model: str, arrays: Arrays, wanted: list[str] | None = None
) -> triton.InferResult:
    tensors = []
    for name, values in arrays.items():
        tensors.append(triton.InferInput(name, list(values.shape), DTYPES[values.dtype]))
        tensors[-1].set_data_from_numpy(values)
    outputs = None if wanted is None else [triton.InferRequestedOutput(name) for name in wanted]
    return client.infer(model, tensors, outputs=outputs, client_timeout=TIMEOUT)


def assert_right(contract: Contract, inputs: Arrays, result: triton.InferResult) -> None:
    right = tiny_responses(contract, inputs)
    for name in [spec.name for spec in contract.answers]:  # what the ensemble offers
        actual, values = result.as_numpy(name), right[name]
        assert actual.dtype == values.dtype
        np.testing.assert_array_equal(actual, values, err_msg=name)


@pytest.mark.parametrize("batch", [1, 7, 128])
def test_the_ensemble_answers_rightly(contract: Contract, client: triton.InferenceServerClient, batch: int) -> None:
    inputs = tiny_inputs(contract, batch, tokens=16, seed=batch)
    result = infer(client, "recommender", inputs)
    assert result.get_response().model_version == str(VERSION)
    assert_right(contract, inputs, result)


def test_instances_are_on_the_cpu_where_there_is_no_gpu(client: triton.InferenceServerClient) -> None:
    for model in ("text_encoder", "multitask"):
        config = client.get_model_config(model, as_json=True)["config"]
        assert [group["kind"] for group in config["instance_group"]] == ["KIND_CPU"]
        assert config["optimization"]["execution_accelerators"]["gpu_execution_accelerator"][0]["name"] == "cuda"


def test_tensorrt_settings_load_where_no_gpu_runs_them(
    repository: Path, triton_installation: TritonInstallation, tmp_path: Path
) -> None:
    """Triton parses them and runs the warm-up; the providers themselves are skipped on a CPU."""
    changed = shutil.copytree(repository, tmp_path / "repository")
    for model in ("text_encoder", "multitask"):
        config = (changed / model / "configs" / "tensorrt.pbtxt").read_text().replace("KIND_GPU", "KIND_CPU")
        (changed / model / "config.pbtxt").write_text(config)
    with (
        TritonServer(changed, triton_installation, tmp_path / "triton.log") as server,
        triton.InferenceServerClient(server.grpc_address) as client,
    ):
        statistics = client.get_inference_statistics("text_encoder").model_stats[0]
        config = client.get_model_config("text_encoder", as_json=True)["config"]
    assert len(config["model_warmup"]) == 8
    # Each of two instances has run every length with one row and with 128.
    assert statistics.inference_count == 2 * 4 * (1 + 128)


def test_only_requested_outputs_come(contract: Contract, client: triton.InferenceServerClient) -> None:
    inputs = tiny_inputs(contract, 2, tokens=8, seed=1)
    result = infer(client, "recommender", inputs, ["scene_scores", "item_ids"])
    assert {output.name for output in result.get_response().outputs} == {"scene_scores", "item_ids"}
    np.testing.assert_array_equal(result.as_numpy("item_ids"), tiny_responses(contract, inputs)["item_ids"])


def test_concurrent_clients_share_batches_and_get_their_own_rows(
    contract: Contract, client: triton.InferenceServerClient
) -> None:
    def counts() -> tuple[int, int]:
        stats = client.get_inference_statistics("multitask").model_stats[0]
        return stats.inference_count, stats.execution_count

    rows_before, runs_before = counts()
    requests = [tiny_inputs(contract, 1 + n % 3, tokens=8, seed=n) for n in range(200)]
    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(lambda inputs: infer(client, "recommender", inputs), requests))
    for inputs, result in zip(requests, results, strict=True):
        assert_right(contract, inputs, result)
    rows, runs = counts()
    assert rows - rows_before == sum(len(inputs["user"]) for inputs in requests)
    assert runs - runs_before < len(requests), "no two requests were ever batched"


def test_a_malformed_request_is_refused_and_its_mates_are_answered(
    contract: Contract, client: triton.InferenceServerClient
) -> None:
    def send_request(number: int) -> None:
        inputs = tiny_inputs(contract, 1, tokens=8, seed=number)
        if number % 4 == 0:
            inputs["history"] = inputs["history"][:, 1:]
            with pytest.raises(InferenceServerException, match="history"):
                infer(client, "recommender", inputs)
        elif number % 4 == 1:
            inputs["user"] = inputs["user"].astype(np.float32)
            with pytest.raises(InferenceServerException, match="user"):
                infer(client, "recommender", inputs)
        else:
            assert_right(contract, inputs, infer(client, "recommender", inputs))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send_request, range(80)))


def test_a_request_that_onnx_runtime_refuses_harms_no_later_one(
    contract: Contract, client: triton.InferenceServerClient
) -> None:
    inputs = tiny_inputs(contract, 1, tokens=8, seed=3)
    torn = {**inputs, "attention_mask": inputs["attention_mask"][:, :5]}
    with pytest.raises(InferenceServerException, match="Mul"):
        infer(client, "recommender", torn)
    assert_right(contract, inputs, infer(client, "recommender", inputs))


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def gone(group: int, regions: str, seconds: float = 10) -> bool:
    """Whether the server's process group and its shared-memory regions (a pattern) are removed within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not group_lives(group) and not list(Path("/dev/shm").glob(regions)):
            return True
        time.sleep(0.05)
    return False


def test_stop_leaves_no_process_and_no_shared_memory(
    repository: Path, triton_installation: TritonInstallation, tmp_path: Path
) -> None:
    server = TritonServer(repository, triton_installation, tmp_path / "triton.log")
    regions = f"{server._shared_memory_prefix}*"
    with server:
        group = server.process_id
        assert group_lives(group)
        if triton_installation.backend.kind == "python-based":
            assert list(Path("/dev/shm").glob(regions)), "the regions are named otherwise, nothing would be removed"
    assert server.process_id is None
    assert gone(group, regions)
    server.stop()


INTERRUPTED = """
import sys, time
from pathlib import Path
from serving.local.install import install_triton
from serving.local.triton import TritonServer
with TritonServer(Path(sys.argv[1]), install_triton(), Path(sys.argv[2])) as server:
    print(server.process_id, flush=True)
    time.sleep(60)
"""


def test_an_interrupted_program_stops_its_server(
    repository: Path, triton_installation: TritonInstallation, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(repository), str(tmp_path / "triton.log")]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        group = int(program.stdout.readline())
        assert group_lives(group)
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=30)
    finally:
        program.kill()
        program.wait()
    assert gone(group, f"polytask_{program.pid}_*")


def test_a_taken_port_is_named(repository: Path, triton_installation: TritonInstallation, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match=f"port {port} "):
            TritonServer(repository, triton_installation, tmp_path / "triton.log", grpc_port=port)


def test_a_model_that_does_not_fit_its_configuration_stops_the_start(
    repository: Path, triton_installation: TritonInstallation, tmp_path: Path
) -> None:
    broken = shutil.copytree(repository, tmp_path / "repository")
    config = broken / "multitask" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [48]", "dims: [47]"))
    server = TritonServer(broken, triton_installation, tmp_path / "triton.log")
    with pytest.raises(ServingError, match=r"'seen'.*\[-1, ?4[78]\]"):
        server.start()
    assert server.process_id is None


def test_the_known_response_catches_a_backend_that_corrupts_tensors(
    repository: Path, triton_installation: TritonInstallation, tmp_path: Path
) -> None:
    if triton_installation.backend.kind == "C++":
        pytest.skip("the corruption is put into the python-based backend")
    backends = shutil.copytree(triton_installation.backend.folder, tmp_path / "backends")
    model = backends / "onnxruntime" / "model.py"
    right = "np.ascontiguousarray(answer)"
    assert right in model.read_text()
    model.write_text(model.read_text().replace(right, "np.asfortranarray(answer).ravel('A').reshape(answer.shape)"))
    backend = dataclasses.replace(triton_installation.backend, folder=backends)
    corrupted = dataclasses.replace(triton_installation, backend=backend)
    message = (
        r"Triton 2\.\d+\.\d, ONNX Runtime 1\.\d+\.\d, python-based backend corrupts tensors: output 'tripled' "
        r".*expected int64 \(3, 3\) .* got int64"
    )
    with (
        pytest.raises(ServingError, match=message),
        TritonServer(repository, corrupted, tmp_path / "triton.log"),
    ):
        pytest.fail("the server must not become ready")
