"""The explainer's metrics, under names of their own: its calls are not the transformer's."""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from serving.transformer.observability.call_record import STAGES
from serving.transformer.observability.metrics import SECONDS

if TYPE_CHECKING:
    from polytask.contract.contract import Contract
    from serving.transformer.concurrency.admission import Admission
    from serving.transformer.observability.call_record import CallRecord


class _Served(Collector):
    contract: "Contract | None" = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ("model_version", "contract_checksum")
        family = GaugeMetricFamily(
            "polytask_explainer_bundle_info", "1 for the contract that is explained.", labels=labels
        )
        if self.contract is not None:
            family.add_metric([str(self.contract.model_version), self.contract.checksum], 1)
        yield family


class ExplainerMetrics:
    """All metrics of the explainer. One per process and registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def name(what: str) -> str:
            return f"polytask_explainer_{what}"

        self._requests = Counter(name("requests"), "Requests, by gRPC status code.", ["code"], registry=registry)
        self._duration = Histogram(
            name("request_duration_seconds"), "Duration of a request.", buckets=SECONDS, registry=registry
        )
        self._stage = Histogram(
            name("stage_duration_seconds"),
            "Duration of a stage.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._explained = Counter(name("explanations"), "Requests explained.", registry=registry)
        self._refreshes = Counter(
            name("feature_refreshes"), "Refreshes of the feature registry, by outcome.", ["outcome"], registry=registry
        )
        self._in_flight = Gauge(name("requests_in_flight"), "Requests in flight.", registry=registry)
        self._queued = Gauge(name("requests_queued"), "Requests queued.", registry=registry)
        self._stages = {stage: self._stage.labels(stage) for stage in STAGES}
        self._code = cache(self._requests.labels)
        self._served = _Served()
        registry.register(self._served)

    def serve(self, contract: "Contract") -> None:
        """Set the contract that is explained from now on."""
        self._served.contract = contract

    def watch(self, admission: "Admission") -> None:
        """Report how many requests are in flight and queued."""
        self._in_flight.set_function(lambda: admission.in_work)
        self._queued.set_function(lambda: admission.waiting)

    def refreshed(self, outcome: str) -> None:
        """Count a reading of the feature registry."""
        self._refreshes.labels(outcome).inc()

    def called(self, record: "CallRecord") -> None:
        """Count a call that ended, whatever its end."""
        self._code(record.code).inc()
        self._duration.observe(record.elapsed())
        if record.code == "OK":
            for stage, seconds in record.seconds.items():
                self._stages[stage].observe(seconds)
            self._explained.inc(record.batch)
