"""The explainer as KServe calls it: REST v1 only, `POST /v1/models/<name>:explain`."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kserve.errors import InvalidInput

from serving.explainer.explain import Explainer
from serving.explainer.metrics import ExplainerMetrics
from serving.explainer.parse import parse_body
from serving.transformer.api.parse import KEY_BYTES
from serving.transformer.concurrency.admission import Admission
from serving.transformer.concurrency.deadline import Deadline
from serving.transformer.observability.call_record import CallRecord
from serving.transformer.observability.logs import log_call, log_refusal, request_id
from serving.transformer.observability.traces import call_span
from serving.transformer.release import Releases, Served
from serving.transformer.server.served_model import ServedModel, status_of, statuses


@dataclass(eq=False)
class ExplainerRelease(Served):
    """The bundle and the models that the explainer uses."""

    explainer: Explainer

    async def close(self) -> None:
        """See `Served.close`."""
        await super().close()
        self.explainer.close()


class ExplainerModel(ServedModel[ExplainerRelease]):
    """Explains predictions. The transformer serves the predictions themselves."""

    def __init__(
        self,
        name: str,
        releases: Releases[ExplainerRelease],
        metrics: ExplainerMetrics,
        admission: Admission,
        deadline_seconds: float,
        key_bytes: int = KEY_BYTES,
    ) -> None:
        super().__init__(name, releases, metrics.serve, admission)
        self._metrics = metrics
        self._deadline_seconds = deadline_seconds
        self._key_bytes = key_bytes

    async def __call__(self, body: Any, headers: Any = None, **options: Any) -> Any:
        """One call: it waits for a place, and leaves its metrics and one line in the log."""
        with self._releases.use() as release:
            return await self._answer(release, body, headers or {}, options)

    async def _answer(
        self, release: ExplainerRelease, body: Any, headers: Mapping[str, str], options: Mapping[str, Any]
    ) -> Any:
        version = str(release.bundle.contract.model_version)
        deadline = Deadline(self._deadline_seconds)
        record = CallRecord(request_id(headers, None), version, deadline=deadline)
        try:
            with call_span(headers, version), statuses():
                async with self._admission.place(deadline):
                    call = super().__call__

                    async def work(release: ExplainerRelease) -> Any:
                        return await call((body, record, release), headers, **options)

                    return await self.respond_with(release, deadline, record, work)
        except BaseException as error:
            record.code = status_of(error, deadline)
            log_refusal(record, error)
            raise
        finally:
            record.ended = time.perf_counter()
            asyncio.get_running_loop().call_soon(self.ended, record)

    def ended(self, record: CallRecord) -> None:
        """Its metrics and its line in the log."""
        self._metrics.called(record)
        log_call(record)

    async def explain(self, payload: Any, headers: Any = None) -> dict[str, Any]:
        """A JSON body -> explanations, model version and contract checksum."""
        body, record, release = payload
        with statuses():
            wanted = parse_body(release.bundle.contract.scenario, body, int(time.time()), self._key_bytes)
            explanations = await release.explainer.explain(wanted, record)
        return {
            "explanations": explanations,
            "model_version": record.model_version,
            "contract_checksum": release.bundle.checksum,
            "timings": {name: round(1000 * seconds, 3) for name, seconds in record.seconds.items()},
        }

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Refused."""
        raise InvalidInput(f"request: this server only explains, allowed: /v1/models/{self.name}:explain")
