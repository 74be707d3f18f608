"""The explainer as KServe calls it: REST v1 only, `POST /v1/models/<name>:explain`."""

import time
from typing import Any

from kserve import Model
from kserve.errors import InvalidInput

from serving.explainer.explain import Explainer
from serving.explainer.parse import parse_body
from serving.transformer.admission import Admission
from serving.transformer.bundle import Bundle
from serving.transformer.call_record import CallRecord
from serving.transformer.deadline import Deadline
from serving.transformer.logs import log_call, log_refusal, request_id
from serving.transformer.model import status_of, statuses
from serving.transformer.predictor import GrpcPredictor
from serving.transformer.traces import call_span


class ExplainerModel(Model):
    """Explains first answers. There is nothing to predict here: the transformer does that."""

    def __init__(
        self,
        name: str,
        bundle: Bundle,
        explainer: Explainer,
        predictor: GrpcPredictor,
        admission: Admission,
        deadline_seconds: float,
    ) -> None:
        super().__init__(name)
        self._bundle = bundle
        self._explainer = explainer
        self._predictor = predictor
        self._admission = admission
        self._deadline_seconds = deadline_seconds
        self.ready = True

    async def __call__(self, body: Any, headers: Any = None, **options: Any) -> Any:
        """One call: it waits for a place, and leaves one line in the log."""
        headers = headers or {}
        version = str(self._bundle.contract.model_version)
        deadline = Deadline(self._deadline_seconds)
        record = CallRecord(request_id(headers, None), version, deadline=deadline)
        try:
            with call_span(headers, version), statuses():
                async with self._admission.place(deadline):
                    return await super().__call__((body, record), headers, **options)
        except BaseException as error:
            record.code = status_of(error)
            log_refusal(record, error)
            raise
        finally:
            log_call(record)

    async def explain(self, payload: Any, headers: Any = None) -> dict[str, Any]:
        """A JSON body -> explanations, model version and contract checksum."""
        body, record = payload
        with statuses():
            wanted = parse_body(self._bundle.contract.scenario, body, int(time.time()))
            explanations = await self._explainer.explain(wanted, record)
        return {
            "explanations": explanations,
            "model_version": record.model_version,
            "contract_checksum": self._bundle.checksum,
            "timings": {name: round(1000 * seconds, 3) for name, seconds in record.seconds.items()},
        }

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Refused."""
        raise InvalidInput(f"request: this server only explains, allowed: /v1/models/{self.name}:explain")

    async def check_ready(self, deadline_seconds: float) -> None:
        """Raises NotAvailable with the reason when the predictor is away or serves other models."""
        with statuses():
            await self._predictor.ready(Deadline(deadline_seconds))
