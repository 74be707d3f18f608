"""The transformer's metrics, in addition to KServe's own on `/metrics`. docs/serving-metrics.md has the table.

Labels are bounded: stages, outcomes, tasks, views, and the one contract that is served. None holds a user's word.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from polytask.contract.contract import MULTITASK, RECOMMENDER, TEXT_ENCODER
from polytask.contract.names import COLD_START, DEGRADED, STALE_FEATURES, TRUNCATED
from polytask.contract.tensors import MASKED_SCORE
from serving.transformer.api.answers import ResponseTensor
from serving.transformer.observability.call_record import STAGES

if TYPE_CHECKING:
    from polytask.contract.contract import Contract
    from serving.transformer.concurrency.admission import Admission
    from serving.transformer.observability.call_record import CallRecord

# Label `work` of a batch of reads of the feature store; that of a batch of the predictor is its model.
STORE_READ = "features"

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
AGES = (1, 60, 600, 3_600, 6 * 3_600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
# Logits of lists and numbers are on both sides of 0, probabilities from 0 to 1: one set serves all tasks.
SCORES = (-10, -5, -2, -1, 0, 0.1, 0.25, 0.5, 0.75, 0.9, 1, 2, 5, 10, 20)


class _Served(Collector):
    """The one contract that is served. A gauge would keep the label values of those before."""

    contract: "Contract | None" = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ("model_version", "contract_checksum")
        family = GaugeMetricFamily("polytask_bundle_info", "1 for the contract that is served.", labels=labels)
        if self.contract is not None:
            family.add_metric([str(self.contract.model_version), self.contract.checksum], 1)
        yield family


class Metrics:
    """All metrics of the transformer. One per process and registry: Prometheus refuses a name twice."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"polytask_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"polytask_{name}", text, labels, buckets=buckets, registry=registry)

        self.requests = counter("requests", "Requests that reached the model, by gRPC status code.", "code")
        self.request_duration = histogram("request_duration_seconds", "Duration of a whole request.", SECONDS)
        self.stage_duration = histogram(
            "stage_duration_seconds", "Duration of a stage of a successful request.", SECONDS, "stage"
        )
        self.rows = counter("rows", "Users in successful requests.")
        self.task_predictions = counter("task_predictions", "Predictions, one per user and task.", "task")
        self.top_score = histogram("top_score", "Best score, or value, of each prediction.", SCORES, "task")
        self.cold_starts = counter("cold_starts", "Users without features in the online store.")
        self.truncated = counter("truncated_texts", "Texts truncated to the maximum number of tokens.")
        self.stale = counter(STALE_FEATURES, "Users with a feature older than its TTL, which is left out.")
        self.degraded = counter(
            "degraded_responses", "Responses without stored features, because the online store was unavailable or slow."
        )
        self.text_vectors = counter("text_vectors", "Texts by the source of their vectors.", "source")
        self.texts_ahead = counter("texts_encoded_ahead", "Texts encoded in the background at the start of a release.")
        self.feature_age = histogram(
            "feature_age_seconds", "Age of a view's values at the time of the request.", AGES, "view"
        )
        self.feature_refreshes = counter("feature_refreshes", "Refreshes of the feature registry.", "outcome")
        self.feature_errors = counter(
            "feature_store_errors",
            "Online reads that failed or timed out, except by the client's own deadline.",
        )
        self.predictor_errors = counter(
            "predictor_errors", "Requests to a model that failed, except by the client's own deadline.", "model"
        )
        self.batches_rerun = counter("batches_rerun", "Batches that failed and were run again one by one.", "work")
        self.in_flight = Gauge("polytask_requests_in_flight", "Requests in flight.", registry=registry)
        self.queued = Gauge("polytask_requests_queued", "Requests queued.", registry=registry)
        for work in (STORE_READ, RECOMMENDER, TEXT_ENCODER, MULTITASK):
            self.batches_rerun.labels(work)
        for model in (TEXT_ENCODER, MULTITASK):
            self.predictor_errors.labels(model)  # there from the start: a rate needs a first value
        # What every call counts, resolved once: `labels` costs as much as counting does.
        self._stages = {stage: self.stage_duration.labels(stage) for stage in STAGES}
        self._flags = ((self.cold_starts, COLD_START), (self.truncated, TRUNCATED), (self.stale, STALE_FEATURES))
        self._code = cache(self.requests.labels)
        self._task = cache(lambda task: (self.task_predictions.labels(task), self.top_score.labels(task)))
        self._view = cache(self.feature_age.labels)
        self._source = cache(self.text_vectors.labels)
        self._served = _Served()
        registry.register(self._served)

    def serve(self, contract: "Contract") -> None:
        """Set the contract that is served from now on."""
        self._served.contract = contract

    def watch(self, admission: "Admission") -> None:
        """Report how many requests are in flight and queued."""
        self.in_flight.set_function(lambda: admission.in_work)
        self.queued.set_function(lambda: admission.waiting)

    def called(self, record: "CallRecord") -> None:
        """Count a call that ended, whatever its end."""
        self._code(record.code).inc()
        self.request_duration.observe(record.elapsed())
        if record.code != "OK":
            return
        for stage, seconds in record.seconds.items():
            self._stages[stage].observe(seconds)
        self.rows.inc(record.batch)
        for counter, flag in self._flags:
            if count := record.flags.get(flag, 0):
                counter.inc(count)
        if record.flags.get(DEGRADED):
            self.degraded.inc()

    def read(self, ages: Mapping[str, float]) -> None:
        """Observe the ages of one user's features, by view, in seconds."""
        for view, age in ages.items():
            self._view(view).observe(age)

    def texts(self, source: str, count: int) -> None:
        """Count texts by where their vectors came from, or those that were encoded `ahead` of calls."""
        if source == "ahead":
            self.texts_ahead.inc(count)
        elif count:
            self._source(source).inc(count)

    def answered(self, task: str, tensors: Mapping[str, ResponseTensor]) -> None:
        """Count the rows of one task and their best scores: (B, K) scores best first, or (B, 1) values."""
        made = tensors.get(f"{task}_scores") or tensors[f"{task}_values"]
        rows, top_score = self._task(task)
        rows.inc(len(made.values))
        for score in made.values[:, 0].tolist():
            if score > MASKED_SCORE / 2:
                top_score.observe(score)
