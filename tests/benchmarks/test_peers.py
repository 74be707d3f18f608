import base64
import json
import subprocess
from contextlib import ExitStack
from urllib.request import Request, urlopen

import grpc
import numpy as np
import pytest
from safetensors.numpy import load
from tritonclient.grpc import service_pb2

from benchmarks import peers
from benchmarks.calls import tensor_message
from benchmarks.in_process import InProcess
from benchmarks.peer_servers.litserve_server import body, encoded
from benchmarks.workbench import Workbench


def test_every_server_answers_and_none_stays(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "CONCURRENCIES", (1, 8))
    started = []
    start = subprocess.Popen

    def remembered(*arguments: object, **options: object) -> object:
        started.append(start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remembered)
    [figure] = peers.measure(bench, rounds=1)
    assert list(figure.parts) == ["against KServe predictor", "against LitServe"]
    for curve in figure.details["curves"].values():
        assert [point["concurrency"] for point in curve] == [1, 8]
        assert all(0 < point["p50_ms"] <= point["p99_ms"] for point in curve)
    assert "<svg" in (bench.out / "peers.svg").read_text()
    servers = [process for process in started if "benchmarks.peer_servers" in " ".join(map(str, process.args))]
    assert len(servers) == 2 and all(process.returncode is not None for process in servers)


def test_peers_give_the_answers_of_the_models(bench: Workbench) -> None:
    [call] = bench.calls.new(1, 2)
    tensors = bench.calls.tensors(call, bench.reader)
    expected = InProcess(bench.published, bench.contract, 1, 1).answer(tensors)
    with ExitStack() as running:
        kserve, litserve = peers.start_peers(bench, running, tensors)
        answer = urlopen(Request(litserve, body(tensors), {"Content-Type": "application/json"}), timeout=20).read()
        found = load(base64.b64decode(json.loads(answer)["tensors"]))
        with grpc.insecure_channel(kserve) as channel:
            raw = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(
                tensor_message("recommender", "", tensors, list(expected)), timeout=20
            )
    response = service_pb2.ModelInferResponse.FromString(raw)
    kinds = {"INT64": np.int64, "FP32": np.float32}
    served = {
        output.name: np.frombuffer(content, kinds[output.datatype]).reshape(output.shape)
        for output, content in zip(response.outputs, response.raw_output_contents, strict=True)
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)
        np.testing.assert_allclose(served[name], values, rtol=1e-6)
    assert load(base64.b64decode(encoded(tensors))).keys() == tensors.keys()
