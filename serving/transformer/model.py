"""The KServe model: protocol objects to plain tensors and back, and errors to the statuses they mean."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput, ServerNotReady

from polytask.errors import ContractError, RequestError
from serving.transformer.admission import Admission, Overloaded
from serving.transformer.answers import answer_types
from serving.transformer.blocking import BoundedThreads
from serving.transformer.call_record import CallRecord, current_record
from serving.transformer.deadline import Deadline, Unavailable
from serving.transformer.logs import log_call, log_refusal, request_id
from serving.transformer.metrics import Metrics
from serving.transformer.parse import input_types
from serving.transformer.recommend import Prepared
from serving.transformer.release import Release, Releases
from serving.transformer.traces import call_span
from serving.transformer.wire import InputTensor

# The release that the call of this task uses.
current_release: ContextVar[Release] = ContextVar("current_release")


class NotAvailable(ServerNotReady):
    """UNAVAILABLE over gRPC, where the SDK reads `reason`, and 503 over REST. `mismatch`: waiting will not help."""

    def __init__(self, reason: str, mismatch: bool = False) -> None:
        super().__init__()
        self.reason = self.error_msg = reason
        self.mismatch = mismatch


@contextmanager
def statuses() -> Iterator[None]:
    """Turn our errors into those that the SDK answers with the right status."""
    try:
        yield
    except RequestError as error:
        raise InvalidInput(str(error)) from error
    except (Unavailable, ContractError) as error:
        raise NotAvailable(str(error), isinstance(error, ContractError)) from error


def status_of(error: BaseException) -> str:
    """The name of the gRPC status that an error is answered with."""
    if isinstance(error, InvalidInput):
        return "INVALID_ARGUMENT"
    if isinstance(error, ServerNotReady):
        return "UNAVAILABLE"
    if isinstance(error, Overloaded):
        return "RESOURCE_EXHAUSTED"
    return "CANCELLED" if isinstance(error, asyncio.CancelledError) else "INTERNAL"


class RecommenderModel(Model):
    """The transformer as KServe calls it: `preprocess`, `predict`, `postprocess`."""

    def __init__(
        self,
        name: str,
        releases: Releases,
        metrics: Metrics,
        admission: Admission,
        deadline_seconds: float,
    ) -> None:
        super().__init__(name)
        self._metrics = metrics
        self._admission = admission
        self._deadline_seconds = deadline_seconds
        self._releases = releases
        self._probing = BoundedThreads(1, "probe")
        self.ready = True

    async def __call__(self, body: Any, headers: Any = None, **options: Any) -> Any:
        """One call: it waits for a place and runs all three steps; then its metrics and its line in the log."""
        deadline = Deadline.of_call(self._deadline_seconds)
        headers = headers or {}
        with self._releases.use() as release:
            current_release.set(release)
            return await self._answer(release, deadline, body, headers, options)

    async def _answer(
        self, release: Release, deadline: Deadline, body: Any, headers: Mapping[str, str], options: Mapping[str, Any]
    ) -> Any:
        version = str(release.bundle.contract.model_version)
        record = CallRecord(request_id(headers, getattr(body, "id", None)), version, deadline=deadline)
        token = current_record.set(record)
        try:
            with call_span(headers, version), statuses():
                async with self._admission.place(deadline):
                    return await super().__call__(body, headers, **options)
        except BaseException as error:
            record.code = status_of(error)
            log_refusal(record, error)
            raise
        finally:
            current_record.reset(token)
            self._metrics.called(record)
            log_call(record)

    async def preprocess(self, payload: Any, headers: Any = None) -> tuple[InferRequest, Prepared]:
        """An Open Inference Protocol request -> the model's inputs."""
        if not isinstance(payload, InferRequest):
            raise InvalidInput(f"request: the protocol is not known, allowed: /v2/models/{self.name}/infer, or gRPC")
        tensors = [
            InputTensor(tensor.name, tensor.datatype, tensor.shape, tensor.data, tensor._raw_data)
            for tensor in payload.inputs
        ]
        outputs = [output.name for output in payload.request_outputs or ()]
        with statuses():
            recommender = current_release.get().recommender
            return payload, await recommender.prepare(tensors, outputs, int(time.time()), current_record.get())

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """The model's inputs -> the model's outputs."""
        request, prepared = payload
        with statuses():
            return request, prepared, await current_release.get().recommender.predict(prepared)

    async def postprocess(self, result: Any, headers: Any = None, response_headers: Any = None) -> InferResponse:
        """The model's outputs -> an Open Inference Protocol response."""
        request, prepared, tensors = result
        release = current_release.get()
        with statuses():
            answer = release.recommender.answer(prepared, tensors)
        outputs = []
        for tensor in answer:
            output = InferOutput(tensor.name, list(tensor.values.shape), tensor.datatype)
            # gRPC callers that send raw bytes get raw bytes; REST decides for itself, for each tensor.
            if request.from_grpc:
                output.set_data_from_numpy(tensor.values, binary_data=bool(request.use_binary_outputs))
            else:
                output.data = tensor.values
            outputs.append(output)
        return InferResponse(
            response_id=request.id or prepared.record.request_id,
            model_name=self.name,
            infer_outputs=outputs,
            model_version=str(release.bundle.contract.model_version),
            parameters={
                "model_version": str(release.bundle.contract.model_version),
                "contract_checksum": release.bundle.checksum,
                **prepared.record.timings(),
            },
            use_binary_outputs=bool(request.use_binary_outputs),
            requested_outputs=request.request_outputs,
        )

    async def probe_predictor(self, deadline: Deadline) -> None:
        """Raises Unavailable or ContractError when the predictor is away or serves other models."""
        await self._releases.current.predictor.ready(deadline)

    async def probe_features(self, deadline: Deadline) -> None:
        """Raises Unavailable when the feature store is away. In a thread of its own: no call waits for it."""
        await self._probing.run(deadline, "feature store", self._releases.current.probe_features)

    async def reload(self) -> None:
        """Serve the next release. Raises NotAvailable with the reason when it cannot be; the last one then still is."""
        with statuses():
            release = await self._releases.switch()
        self._metrics.serve(release.bundle.contract)

    def get_input_types(self) -> list[dict[str, Any]]:
        """Names, datatypes and shapes of the inputs, for model metadata."""
        return _metadata(input_types(self._releases.current.bundle.contract.scenario))

    def get_output_types(self) -> list[dict[str, Any]]:
        """Names, datatypes and shapes of the outputs, for model metadata."""
        return _metadata(answer_types(self._releases.current.bundle.contract.scenario))


def _metadata(types: dict[str, tuple[str, list[int]]]) -> list[dict[str, Any]]:
    return [{"name": name, "datatype": datatype, "shape": shape} for name, (datatype, shape) in types.items()]
