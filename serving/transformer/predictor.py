"""Calls to Triton over gRPC with KServe's own stubs: every call pinned to the contract's version, with a deadline."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from numpy.typing import NDArray

from polytask.contract import Contract
from polytask.errors import ContractError
from serving.transformer.agreement import MODELS, ServedModel, check_agreement
from serving.transformer.deadline import Deadline, Unavailable

DATATYPES: dict[str, np.dtype[Any]] = {"INT64": np.dtype("<i8"), "FP32": np.dtype("<f4"), "BOOL": np.dtype("?")}
NAMES = {dtype: name for name, dtype in DATATYPES.items()}

# A predictor that says one of these may answer a later or another call; anything else is a fault of ours.
DOWN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.CANCELLED,
}

CHANNEL_OPTIONS = [
    # gRPC's own back-off grows to two minutes: a predictor that came back would not be noticed for as long.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 64 * 2**20),
]


class GrpcPredictor:
    """The models of one contract on a Triton server at `host` (`:80` is added where no port stands)."""

    def __init__(self, host: str, contract: Contract, use_ssl: bool = False) -> None:
        self.host = host if host.rpartition(":")[2].isdigit() else f"{host}:80"
        self._contract = contract
        self._use_ssl = use_ssl
        self._version = str(contract.model_version)
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._agreed = False

    async def infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, NDArray[Any]]:
        """The wanted outputs of a model, by name.

        Raises Unavailable when the predictor is down or slow, ContractError when it serves another model.
        """
        await self.agree(deadline)
        request = messages.ModelInferRequest(model_name=model, model_version=self._version)
        for name, values in inputs.items():
            request.inputs.add(name=name, datatype=NAMES[values.dtype], shape=values.shape)
            request.raw_input_contents.append(np.ascontiguousarray(values).tobytes())
        for name in outputs:
            request.outputs.add(name=name)
        response = await self._call("ModelInfer", request, f"predictor model {model}", deadline)
        answer = {
            output.name: np.frombuffer(raw, DATATYPES[output.datatype]).reshape(tuple(output.shape))
            for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        }
        missing = [name for name in outputs if name not in answer]
        if missing:
            raise ContractError(f"predictor model {model}: answers {', '.join(answer)}, not {', '.join(missing)}")
        return answer

    async def agree(self, deadline: Deadline) -> None:
        """Compare the models the predictor serves with the contract, once for each time that it was not ready."""
        if self._agreed:
            return
        for model in MODELS:
            # Without a version: the answer then names the versions there are, which the error must show.
            request = messages.ModelMetadataRequest(name=model)
            served = await self._call("ModelMetadata", request, f"predictor model {model}", deadline)
            check_agreement(
                self._contract,
                ServedModel(
                    name=model,
                    versions=list(served.versions),
                    inputs={tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in served.inputs},
                    outputs={tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in served.outputs},
                ),
            )
        self._agreed = True

    async def ready(self, deadline: Deadline) -> None:
        """Return when the predictor is ready with the contract's models; raise Unavailable or ContractError if not."""
        try:
            for model in MODELS:
                request = messages.ModelReadyRequest(name=model, version=self._version)
                response = await self._call("ModelReady", request, f"predictor model {model}", deadline)
                if not response.ready:
                    self._agreed = False
                    await self.agree(deadline)  # says why, if it is the version
                    raise Unavailable(f"predictor model {model}: version {self._version} is not ready")
        except Unavailable:
            self._agreed = False
            raise
        await self.agree(deadline)

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def _call(self, method: str, request: Any, what: str, deadline: Deadline) -> Any:
        if self._channel is None:  # made here, because it belongs to the event loop that uses it
            if self._use_ssl:
                self._channel = grpc.aio.secure_channel(self.host, grpc.ssl_channel_credentials(), CHANNEL_OPTIONS)
            else:
                self._channel = grpc.aio.insecure_channel(self.host, CHANNEL_OPTIONS)
            self._stub = GRPCInferenceServiceStub(self._channel)
        try:
            return await getattr(self._stub, method)(request, timeout=deadline.remaining(what))
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                self._agreed = False
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise deadline.passed(f"{what} at {self.host}") from error
            if error.code() in DOWN:
                raise Unavailable(f"{what} at {self.host}: {error.code().name}: {error.details()}") from error
            raise RuntimeError(f"{what} at {self.host}: {error.code().name}: {error.details()}") from error
