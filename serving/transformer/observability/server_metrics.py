"""The metrics that the transformer and the explainer share: requests, stages, admission and the served contract."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from serving.transformer.observability.call_record import STAGES

if TYPE_CHECKING:
    from polytask.contract.contract import Contract
    from serving.transformer.concurrency.admission import Admission
    from serving.transformer.observability.call_record import CallRecord

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class _Served(Collector):
    """The one contract that is served. A gauge would keep the label values of those before."""

    def __init__(self, name: str) -> None:
        self.contract: Contract | None = None
        self._name = name

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ("model_version", "contract_checksum")
        family = GaugeMetricFamily(self._name, "1 for the contract that is served.", labels=labels)
        if self.contract is not None:
            family.add_metric([str(self.contract.model_version), self.contract.checksum], 1)
        yield family


class ServerMetrics:
    """Metrics of one server. One per process, prefix and registry: Prometheus refuses a name twice.

    Args:
        prefix: Start of all names, such as `polytask_`.
        registry: Registry of the metrics.
    """

    def __init__(self, prefix: str, registry: CollectorRegistry) -> None:
        self._prefix, self._registry = prefix, registry
        self.requests = self.counter("requests", "Requests that reached the model, by gRPC status code.", "code")
        self.request_duration = self.histogram("request_duration_seconds", "Duration of a whole request.", SECONDS)
        self.stage_duration = self.histogram(
            "stage_duration_seconds", "Duration of a stage of a successful request.", SECONDS, "stage"
        )
        self.feature_refreshes = self.counter("feature_refreshes", "Refreshes of the feature registry.", "outcome")
        self.in_flight = Gauge(f"{prefix}requests_in_flight", "Requests in flight.", registry=registry)
        self.queued = Gauge(f"{prefix}requests_queued", "Requests queued.", registry=registry)
        # What every call counts, resolved once: `labels` costs as much as counting does.
        self._stages = {stage: self.stage_duration.labels(stage) for stage in STAGES}
        self._code = cache(self.requests.labels)
        self._served = _Served(f"{prefix}bundle_info")
        registry.register(self._served)

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """Register a counter under the prefix, with its help text and labels."""
        return Counter(f"{self._prefix}{name}", text, labels, registry=self._registry)

    def histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        """Register a histogram under the prefix, with its help text, upper bounds and labels."""
        return Histogram(f"{self._prefix}{name}", text, labels, buckets=buckets, registry=self._registry)

    def serve(self, contract: "Contract") -> None:
        """Set the contract that is served from now on."""
        self._served.contract = contract

    def watch(self, admission: "Admission") -> None:
        """Report how many requests are in flight and queued."""
        self.in_flight.set_function(lambda: admission.in_work)
        self.queued.set_function(lambda: admission.waiting)

    def refreshed(self, outcome: str) -> None:
        """Count a refresh of the feature registry."""
        self.feature_refreshes.labels(outcome).inc()

    def called(self, record: "CallRecord") -> None:
        """Count a call that ended, whatever its end."""
        self._code(record.code).inc()
        self.request_duration.observe(record.elapsed())
        if record.code != "OK":
            return
        for stage, seconds in record.seconds.items():
            self._stages[stage].observe(seconds)
        self.succeeded(record)

    def succeeded(self, record: "CallRecord") -> None:
        """Count what only a successful call has."""
