"""The transformer's metrics, in addition to KServe's own on `/metrics`. docs/serving-metrics.md has the table.

Labels are bounded: stages, outcomes, tasks, views, and the one contract that is served. None holds a user's word.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry

from polytask.contract.contract import MULTITASK, RECOMMENDER, TEXT_ENCODER
from polytask.contract.names import COLD_START, DEGRADED, STALE_FEATURES, TRUNCATED
from polytask.contract.tensors import MASKED_SCORE
from serving.transformer.api.answers import ResponseTensor
from serving.transformer.observability.server_metrics import ServerMetrics

if TYPE_CHECKING:
    from serving.transformer.observability.call_record import CallRecord

# Label `work` of a batch of reads of the feature store; that of a batch of the predictor is its model.
STORE_READ = "features"

AGES = (1, 60, 600, 3_600, 6 * 3_600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
# Logits of lists and numbers are on both sides of 0, probabilities from 0 to 1: one set serves all tasks.
SCORES = (-10, -5, -2, -1, 0, 0.1, 0.25, 0.5, 0.75, 0.9, 1, 2, 5, 10, 20)


class Metrics(ServerMetrics):
    """All metrics of the transformer. One per process and registry: Prometheus refuses a name twice."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__("polytask_", registry)
        counter, histogram = self.counter, self.histogram
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
        self.feature_errors = counter(
            "feature_store_errors",
            "Online reads that failed or timed out, except by the client's own deadline.",
        )
        self.predictor_errors = counter(
            "predictor_errors", "Requests to a model that failed, except by the client's own deadline.", "model"
        )
        self.batches_rerun = counter("batches_rerun", "Batches that failed and were run again one by one.", "work")
        for work in (STORE_READ, RECOMMENDER, TEXT_ENCODER, MULTITASK):
            self.batches_rerun.labels(work)
        for model in (TEXT_ENCODER, MULTITASK):
            self.predictor_errors.labels(model)  # there from the start: a rate needs a first value
        self._flags = ((self.cold_starts, COLD_START), (self.truncated, TRUNCATED), (self.stale, STALE_FEATURES))
        # Resolved once, like those of every call: `labels` costs as much as counting does.
        self._task = cache(lambda task: (self.task_predictions.labels(task), self.top_score.labels(task)))
        self._view = cache(self.feature_age.labels)
        self._source = cache(self.text_vectors.labels)

    def succeeded(self, record: "CallRecord") -> None:
        """Count the users and the flags of a call."""
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
