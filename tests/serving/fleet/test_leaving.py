"""Servers that stop: on SIGTERM each finishes its calls first, and none outlives a program that is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from serving.local.explainer import ExplainerProcess
from serving.local.install import TritonInstallation
from serving.local.server_process import server_environment
from tests.serving.fleet.fleet import NAME, Fleet, Transformer, get, inferences, wait_for

CALLS = 4

PROGRAM = """
import sys, time
from pathlib import Path
from polytask.contract.contract import REPOSITORY_FOLDER
from serving.local.console import ConsoleProcess
from serving.local.explainer import ExplainerProcess
from serving.local.transformer import TransformerProcess
from serving.local.install import install_triton
from serving.local.triton import TritonServer, choose_ports

bundle, store, folder = map(Path, sys.argv[1:])
rest, rpc = choose_ports(None, None)
triton = TritonServer(bundle / REPOSITORY_FOLDER, install_triton(), folder / "triton.log")
options = {"--bundle": bundle, "--feature_store": store, "--http_port": rest, "--grpc_port": rpc}
options["--predictor_host"] = triton.grpc_address
transformer = TransformerProcess(lambda: options, folder / "transformer.log", rest, 2.0)
explainer = ExplainerProcess(triton.grpc_address, bundle, store, folder / "explainer.log")
console = ConsoleProcess(f"127.0.0.1:{rpc}", bundle, store, folder / "console.log")
for server in (transformer, explainer, console, triton):
    server.start()
ids = (triton.process_id, transformer.process_id, explainer.process_id, console.process_id)
(folder / "ids.new").write_text(" ".join(map(str, ids)))
(folder / "ids.new").rename(folder / "ids")
time.sleep(120)
"""


def alive(group: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            if int(session) == group and state != "Z":
                found.append(int(folder.name))
    return found


def test_nothing_outlives_a_program_that_is_killed(
    ruled_bundle: Path, small_store: Path, triton_installation: TritonInstallation, tmp_path: Path
):
    with (tmp_path / "log").open("wb") as log:
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(ruled_bundle), str(small_store), str(tmp_path)],
            env=server_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    groups: list[int] = []
    try:
        wait_for((tmp_path / "ids").exists, "the servers did not start", seconds=90)
        groups = [int(one) for one in (tmp_path / "ids").read_text().split()]
        assert all(alive(group) for group in groups)
        assert len(alive(groups[0])) > 1, "Triton has processes of its own"
        program.kill()
        wait_for(lambda: not any(alive(group) for group in groups), "a server outlives its program", seconds=30)
    finally:
        program.kill()
        program.wait()
        for group in groups:
            for process in alive(group):
                os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def fleet(empty_fleet: Fleet, ruled_bundle: Path) -> Fleet:
    empty_fleet.triton(ruled_bundle)
    return empty_fleet


@pytest.fixture(scope="module")
def transformer(fleet: Fleet, ruled_bundle: Path) -> Transformer:
    return fleet.transformer(bundle=ruled_bundle, deadline_seconds=8)


@pytest.fixture(scope="module")
def explainer(fleet: Fleet, ruled_bundle: Path, small_store: Path, tmp_path_factory) -> Iterator[ExplainerProcess]:
    log = tmp_path_factory.mktemp("explainer") / "explainer.log"
    explainer = ExplainerProcess(f"{NAME}:{fleet.grpc_port}", ruled_bundle, small_store, log)
    explainer.start()
    try:
        yield explainer
    finally:
        explainer.stop()


def recommend(transformer: Transformer) -> str:
    request = service_pb2.ModelInferRequest(model_name="recommender")
    request.inputs.add(name="user_id", datatype="INT64", shape=[1, 1]).contents.int64_contents.append(10)
    with grpc.insecure_channel(transformer.address) as channel:
        try:
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    return "OK"


def explain(explainer: ExplainerProcess) -> str:
    body = json.dumps({"instances": [{"user_id": 10}]}).encode()
    url = f"{explainer.url}/v1/models/recommender:explain"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            json.loads(response.read())
            return "OK"
    except urllib.error.HTTPError as error:
        return f"{error.code}: {error.read().decode()}"
    except OSError as error:
        return repr(error)


def held(fleet: Fleet) -> "Held":
    return Held(fleet.endpoints[0].process_id)


class Held:
    """Triton stands still meanwhile, so that calls stay under way."""

    def __init__(self, group: int | None) -> None:
        assert group is not None
        self._group = group

    def __enter__(self) -> None:
        os.killpg(self._group, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        os.killpg(self._group, signal.SIGCONT)


def test_an_explainer_answers_its_calls_before_it_ends(fleet: Fleet, explainer: ExplainerProcess):
    explainer.wait_until_ready(90)
    process = explainer.process_id
    assert process is not None
    with ThreadPoolExecutor(CALLS) as pool:
        with held(fleet):
            calls = [pool.submit(explain, explainer) for _ in range(CALLS)]
            time.sleep(0.5)
            os.kill(process, signal.SIGTERM)
            wait_for(lambda: get(f"{explainer.url}/v2/health/ready")[0] != 200, "an ending explainer is ready")
            time.sleep(0.3)
            assert not any(call.done() for call in calls)
        assert [call.result(30) for call in calls] == ["OK"] * CALLS
    wait_for(lambda: not explainer.runs(), "the explainer did not end", seconds=15)


def test_triton_answers_its_calls_before_it_ends(fleet: Fleet, transformer: Transformer, ruled_bundle: Path):
    """The calls that it has when the signal comes; a second server takes those that come after."""
    transformer.wait_until_ready()
    first, second = fleet.endpoints[0], fleet.triton(ruled_bundle)
    assert first.process_id is not None
    ended: list[str] = []
    end = threading.Event()

    def call() -> None:
        while not end.is_set():
            ended.append(recommend(transformer))

    callers = [threading.Thread(target=call) for _ in range(CALLS)]
    for caller in callers:
        caller.start()
    try:
        wait_for(lambda: inferences(second) > 5 and inferences(first) > 5, "one of the two gets no calls")
        fleet.end(first)
        before = len(ended)
        wait_for(lambda: len(ended) > before + 50, "no more calls succeed")
    finally:
        end.set()
        for caller in callers:
            caller.join(30)
    assert set(ended) == {"OK"}


def test_a_transformer_answers_its_calls_before_it_ends(fleet: Fleet, transformer: Transformer):
    transformer.wait_until_ready()
    process = transformer.process.process_id
    assert process is not None
    with ThreadPoolExecutor(CALLS) as pool:
        with held(fleet):
            calls: list[Any] = [pool.submit(recommend, transformer) for _ in range(CALLS)]
            time.sleep(0.5)
            os.kill(process, signal.SIGTERM)
            wait_for(lambda: transformer.ready()[0] != 200, "an ending transformer is ready")
            time.sleep(0.3)
            assert not any(call.done() for call in calls)
        assert [call.result(30) for call in calls] == ["OK"] * CALLS
    wait_for(lambda: not transformer.process.runs(), "the transformer did not end", seconds=15)
