"""The transformer as a KServe model: protocol objects to plain tensors and back."""

import asyncio
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, TypeAlias

from kserve import InferOutput, InferRequest, InferResponse
from kserve.errors import InvalidInput
from kserve.metrics import POST_HIST_TIME, PRE_HIST_TIME, PREDICT_HIST_TIME
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest, ModelInferResponse

from polytask.contract.contract import Contract
from serving.transformer.api.answers import response_types
from serving.transformer.api.messages import input_tensors, response_message
from serving.transformer.api.parse import input_types
from serving.transformer.api.wire import InputTensor
from serving.transformer.concurrency.admission import Admission
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.observability.call_record import CallRecord, current_record
from serving.transformer.observability.logs import log_call, log_refusal, request_id
from serving.transformer.observability.metrics import Metrics
from serving.transformer.observability.traces import call_span
from serving.transformer.recommender import PreparedRequest
from serving.transformer.release import Release, Releases
from serving.transformer.server.rest.body import RestCall
from serving.transformer.server.served_model import ServedModel, TensorTypes, status_of, statuses

Payload: TypeAlias = InferRequest | ModelInferRequest

# The release that the call of this task uses.
current_release: ContextVar[Release] = ContextVar("current_release")


class RecommenderModel(ServedModel[Release]):
    """The transformer as KServe calls it: `preprocess`, `predict`, `postprocess`."""

    def __init__(
        self,
        name: str,
        releases: Releases[Release],
        metrics: Metrics,
        admission: Admission,
        deadline_seconds: float,
    ) -> None:
        super().__init__(name, releases, metrics.serve, admission)
        self._metrics = metrics
        self._deadline_seconds = deadline_seconds
        # KServe's own histograms. Its `Model.__call__` runs the same steps and looks the labels up again in each.
        self._steps = tuple(
            (step, histogram.labels(name))
            for step, histogram in (
                (self.preprocess, PRE_HIST_TIME),
                (self.predict, PREDICT_HIST_TIME),
                (self.postprocess, POST_HIST_TIME),
            )
        )

    async def probe_features(self, deadline: Deadline) -> None:
        """Probe the feature store as calls read it, for each release: each has its own connection to it.

        Raises Unavailable where responses without features are not allowed (`--strict_features`), and ContractError
        where the store has none of the bundle's users.
        """
        releases = self._releases.all
        await asyncio.gather(*(release.recommender.probe_features(deadline) for release in releases))
        for release in releases:
            try:
                await self._probing.run(deadline, "known users", release.check_known_users)
            except Unavailable:  # the probe above has reported it, and the next round checks again
                return

    async def __call__(self, body: Any, headers: Any = None, **options: Any) -> Any:
        """One call: it waits for a place and runs all three steps; then its metrics and its line in the log."""
        deadline = Deadline.of_call(self._deadline_seconds)
        headers = headers or {}
        # A request that names a version is served by that one or not at all.
        named = self.release_of(getattr(body, "model_version", ""))
        with self._releases.use(named) as release:
            return await self._answer(release, deadline, body, headers, named is not None), {}

    async def _answer(
        self, release: Release, deadline: Deadline, body: Any, headers: Mapping[str, str], named: bool
    ) -> Any:
        version = str(release.bundle.contract.model_version)
        record = CallRecord(request_id(headers, getattr(body, "id", None)), version, deadline=deadline)
        token = current_record.set(record)
        try:
            with call_span(headers, version), statuses():
                async with self._admission.place(deadline):

                    async def work(release: Release) -> Any:
                        current_release.set(release)
                        result = body
                        for step, seconds in self._steps:
                            with seconds.time():
                                result = await step(result, headers)
                        return result

                    return await (work(release) if named else self.respond_with(release, deadline, record, work))
        except BaseException as error:
            record.code = status_of(error, deadline)
            log_refusal(record, error)
            raise
        finally:
            current_record.reset(token)
            record.ended = time.perf_counter()
            # The response is sent first.
            asyncio.get_running_loop().call_soon(self.ended, record)

    def ended(self, record: CallRecord) -> None:
        """Its metrics and its line in the log."""
        self._metrics.called(record)
        log_call(record)

    async def preprocess(self, payload: Any, headers: Any = None) -> tuple[Payload, PreparedRequest]:
        """A request, as a gRPC message or as the body of a REST request -> the model's inputs."""
        if isinstance(payload, RestCall):
            payload = payload.parse()
            record = current_record.get()
            assert record is not None, "a call sets its record before its steps"
            record.request_id = request_id(headers or {}, payload.id)
        if isinstance(payload, ModelInferRequest):
            tensors = input_tensors(payload)
            outputs = [output.name for output in payload.outputs]
        elif isinstance(payload, InferRequest):
            tensors = [
                InputTensor(tensor.name, tensor.datatype, tensor.shape, tensor.data, tensor._raw_data)
                for tensor in payload.inputs
            ]
            outputs = [output.name for output in payload.request_outputs or ()]
        else:
            raise InvalidInput(f"request: the protocol is not known, allowed: /v2/models/{self.name}/infer, or gRPC")
        recommender = current_release.get().recommender
        return payload, await recommender.prepare(tensors, outputs, int(time.time()), current_record.get())

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """The model's inputs -> the model's outputs."""
        request, prepared = payload
        return request, prepared, await current_release.get().recommender.predict(prepared)

    async def postprocess(
        self, result: Any, headers: Any = None, response_headers: Any = None
    ) -> InferResponse | ModelInferResponse:
        """The model's outputs -> an Open Inference Protocol response of the request's kind."""
        request, prepared, tensors = result
        release = current_release.get()
        answer = release.recommender.answer(prepared, tensors)
        identifier = request.id or prepared.record.request_id
        version = str(release.bundle.contract.model_version)
        reported = {
            "model_version": version,
            "contract_checksum": release.bundle.checksum,
            **prepared.record.timings(),
        }
        if isinstance(request, ModelInferRequest):
            return response_message(request, identifier, version, answer, reported)
        outputs = []
        for tensor in answer:
            output = InferOutput(tensor.name, list(tensor.values.shape), tensor.datatype)
            output.data = tensor.values  # as JSON or as bytes: REST decides for itself, for each tensor
            outputs.append(output)
        return InferResponse(
            response_id=identifier,
            model_name=self.name,
            infer_outputs=outputs,
            model_version=version,
            parameters=reported,
            use_binary_outputs=bool(request.use_binary_outputs),
            requested_outputs=request.request_outputs,
        )

    def tensors_of(self, contract: Contract) -> tuple[TensorTypes, TensorTypes]:
        """See `ServedModel`."""
        return input_types(contract.scenario), response_types(contract.scenario)
