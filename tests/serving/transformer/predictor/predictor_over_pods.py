"""Cases of the predictor over fake pods; `test_client.py` runs them in a process of their own."""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs

from polytask.contract.contract import MULTITASK, RECOMMENDER, TEXT_ENCODER, Contract, load_contract
from polytask.errors import PolytaskError
from serving.local.triton import choose_ports
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.predictor import addresses
from serving.transformer.predictor.client import GrpcPredictor

NAME = "triton.test"
LISTED: list[str] = []
resolve = addresses.socket.getaddrinfo
addresses.socket.getaddrinfo = lambda host, port, **options: [
    entry for address in (LISTED if host == NAME else [host]) for entry in resolve(address, port, **options)
]


class FakePod(stubs.GRPCInferenceServiceServicer):
    """A Triton server that serves a version of the contract's models, or refuses inferences with `status`."""

    def __init__(self, contract: Contract, version: int | None = None) -> None:
        self.contract, self.version = contract, str(version or contract.model_version)
        self.counts: Counter[str] = Counter()
        self.ready = True
        self.status: grpc.StatusCode | None = None
        self.seconds = 0.0
        self.authorities: set[str] = set()

    async def ModelReady(self, request: Any, context: Any) -> Any:
        self.counts["ready"] += 1
        self.authorities.add(dict(context.invocation_metadata()).get(":authority", ""))
        return messages.ModelReadyResponse(ready=self.ready and request.version == self.version)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        self.counts["metadata"] += 1
        response = messages.ModelMetadataResponse(name=request.name, versions=[self.version])
        inputs, outputs = {
            TEXT_ENCODER: (self.contract.text_inputs, self.contract.text_outputs),
            MULTITASK: (self.contract.multitask_inputs, self.contract.outputs),
            RECOMMENDER: (self.contract.ensemble_inputs, self.contract.ensemble_outputs),
        }[request.name]
        for found, specs in ((response.inputs, inputs), (response.outputs, outputs)):
            for spec in specs:
                found.add(name=spec.name, datatype=spec.dtype, shape=[-1, *spec.shape])
        return response

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        self.counts["infer"] += 1
        if self.status is not None:
            await context.abort(self.status, "not now")
        await asyncio.sleep(self.seconds)
        response = messages.ModelInferResponse(model_name=request.model_name)
        response.outputs.add(name="text_vector", datatype="FP32", shape=[1, 1])
        response.raw_output_contents.append(np.ones(1, np.float32).tobytes())
        return response


class Pods:
    """Fake pods on 127.0.0.1 and on, of which the name lists all."""

    def __init__(self, *pods: FakePod, certificates: Path | None = None) -> None:
        self.pods = pods
        self.port = choose_ports(None)[0]
        self._certificates = certificates
        self._servers: list[Any] = []

    async def __aenter__(self) -> "Pods":
        for number, pod in enumerate(self.pods, start=1):
            server = grpc.aio.server()
            stubs.add_GRPCInferenceServiceServicer_to_server(pod, server)
            address = f"127.0.0.{number}:{self.port}"
            if self._certificates is None:
                server.add_insecure_port(address)
            else:
                chain, key = ((self._certificates / name).read_bytes() for name in ("tls.crt", "tls.key"))
                server.add_secure_port(address, grpc.ssl_server_credentials([(key, chain)]))
            await server.start()
            self._servers.append(server)
            LISTED.append(f"127.0.0.{number}")
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            await server.stop(0)

    def inferences(self) -> list[int]:
        return [pod.counts["infer"] for pod in self.pods]


async def send_request(predictor: GrpcPredictor, times: int = 1, seconds: float = 5.0) -> list[str]:
    """`OK`, or the kind and text of the error, of each call."""
    logged = []
    for _ in range(times):
        try:
            inputs = {"input_ids": np.ones((1, 1), np.int64)}
            await predictor.infer("text_encoder", inputs, ["text_vector"], Deadline(seconds))
            logged.append("OK")
        except (PolytaskError, RuntimeError) as error:
            logged.append(f"{type(error).__name__}: {error}")
    return logged


async def readiness(predictor: GrpcPredictor) -> str:
    try:
        await predictor.ready(Deadline(2))
        return "OK"
    except PolytaskError as error:
        return f"{type(error).__name__}: {error}"


async def only_agreeing_pods(contract: Contract, folder: Path) -> Any:
    async with Pods(FakePod(contract), FakePod(contract, 5), FakePod(contract)) as pods:
        predictor = GrpcPredictor(f"{NAME}:{pods.port}", contract)
        logged = await send_request(predictor, 20)
        count = predictor.pods
        channel = predictor._channel
        await predictor.ready(Deadline(2))
        same = predictor._channel is channel
        metadata = [pod.counts["metadata"] for pod in pods.pods]
        pods.pods[0].ready = False
        await predictor.ready(Deadline(2))
        before = pods.inferences()
        logged += await send_request(predictor, 10)
        return {
            "said": logged, "pods": [count, predictor.pods], "same": same, "metadata": metadata,
            "inferences": [before, pods.inferences()], "authorities": sorted(pods.pods[0].authorities),
        }  # fmt: skip


async def none_agrees(contract: Contract, folder: Path) -> Any:
    async with Pods(FakePod(contract, 5), FakePod(contract, 6)) as pods:
        predictor = GrpcPredictor(f"{NAME}:{pods.port}", contract)
        mismatch = [await readiness(predictor), *await send_request(predictor)]
    down = [await readiness(predictor), *await send_request(predictor)]
    return {"mismatch": mismatch, "down": down, "port": pods.port}


async def refusals(contract: Contract, folder: Path) -> Any:
    """One of two pods refuses, between two probes; then both do; then one is slower than the deadline."""
    async with Pods(FakePod(contract), FakePod(contract)) as pods:
        predictor = GrpcPredictor(f"{NAME}:{pods.port}", contract)
        await predictor.ready(Deadline(2))
        pods.pods[0].status = grpc.StatusCode.UNAVAILABLE
        one = await send_request(predictor, 10)
        pods.pods[1].status = grpc.StatusCode.UNAVAILABLE
        before = sum(pods.inferences())
        both = await send_request(predictor)
        attempts = sum(pods.inferences()) - before
        for pod in pods.pods:
            pod.status, pod.seconds = None, 1.0
        before = sum(pods.inferences())
        slow = await send_request(predictor, seconds=0.3)
        late = sum(pods.inferences()) - before
        for pod in pods.pods:
            pod.seconds, pod.status = 0.0, grpc.StatusCode.INVALID_ARGUMENT
        return {
            "one": one,
            "both": both,
            "attempts": attempts,
            "slow": slow,
            "late": late,
            "fault": await send_request(predictor),
        }


async def a_call_ends_where_it_began(contract: Contract, folder: Path) -> Any:
    async with Pods(FakePod(contract), FakePod(contract)) as pods:
        del LISTED[1:]
        predictor = GrpcPredictor(f"{NAME}:{pods.port}", contract)
        await predictor.ready(Deadline(2))
        pods.pods[0].seconds = 0.5
        call = asyncio.create_task(send_request(predictor))
        await asyncio.sleep(0.1)
        LISTED[:] = ["127.0.0.2"]
        await predictor.ready(Deadline(2))
        new = await send_request(predictor, 3)
        return {"said": [*await call, *new], "inferences": pods.inferences()}


async def closed(contract: Contract, folder: Path) -> Any:
    """A call in flight while the predictor is closed, one after that, and one of a predictor that never probed."""
    async with Pods(FakePod(contract)) as pods:
        predictor = GrpcPredictor(f"{NAME}:{pods.port}", contract)
        await predictor.ready(Deadline(2))
        pods.pods[0].seconds = 5.0
        call = asyncio.create_task(send_request(predictor))
        while not pods.inferences()[0]:
            await asyncio.sleep(0.01)
        channel = predictor._channel
        await predictor.close()
        late = await send_request(predictor)
        predictor._channel = channel  # as a call has it that began before
        held = await send_request(predictor)
        new = GrpcPredictor(f"{NAME}:{pods.port}", contract)
        await new.close()
        return {"under_way": await call, "late": late, "held": held, "new": await send_request(new)}


async def queue_is_full(contract: Contract, folder: Path) -> Any:
    async with Pods(FakePod(contract)) as pods:
        predictor = GrpcPredictor(f"{NAME}:{pods.port}", contract)
        await predictor.ready(Deadline(2))
        pods.pods[0].status = grpc.StatusCode.RESOURCE_EXHAUSTED
        try:
            await predictor.infer(MULTITASK, {"x": np.zeros((1, 1), np.int64)}, [], Deadline(2))
        except Unavailable as error:
            return error.retry_after


async def over_tls(contract: Contract, folder: Path) -> Any:
    async with Pods(FakePod(contract), FakePod(contract), certificates=folder) as pods:
        predictor = GrpcPredictor(f"{NAME}:{pods.port}", contract, use_ssl=True)
        logged = await send_request(predictor, 10)
        wrong = await readiness(GrpcPredictor(f"127.0.0.1:{pods.port}", contract, use_ssl=True))
        try:
            GrpcPredictor("one,two", contract, use_ssl=True)
        except PolytaskError as error:
            return {"said": logged, "wrong": wrong, "several": str(error), "inferences": pods.inferences()}


CASES = (
    only_agreeing_pods, none_agrees, refusals, a_call_ends_where_it_began, closed, queue_is_full, over_tls
)  # fmt: skip

if __name__ == "__main__":
    bundle, certificates, results = map(Path, sys.argv[1:])
    contract = load_contract(bundle)
    found = {}
    for case in CASES:
        LISTED.clear()
        found[case.__name__] = asyncio.run(case(contract, certificates))
    results.write_text(json.dumps(found))
